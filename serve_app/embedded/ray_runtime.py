"""Ray and Serve on this machine, behind HAProxy."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from serve_app.embedded.ports import LOOPBACK
from serve_app.embedded.process import end_all, families

#: CPUs that Ray may hand out. More than there are: actors here wait for messages most of the time.
CPUS: Final = 16
OBJECT_STORE_BYTES: Final = 128 * 1024**2
#: How long Ray's processes may take to end by themselves.
_STOP_S_MAX = 2.0


class RayRuntime:
    """A local Ray with Serve's controller and HAProxy.

    ``ray`` and ``serve`` read their settings when they are imported, so the environment of
    :mod:`serve_app.embedded.ray_environment` must stand before anybody imports them.

    Args:
        run: the run's own folder, with a short path.
        logs: where Ray's logs of this run are left when it ends.
        port: where HAProxy listens.
        dashboard_port: where Ray's dashboard listens.
        namespace: Ray's namespace for named actors.
    """

    def __init__(
        self, run: Path, logs: Path, *, port: int, dashboard_port: int, namespace: str
    ) -> None:
        self._folder = run / "ray"
        self._logs = logs
        self._port = port
        self._dashboard_port = dashboard_port
        self._namespace = namespace

    @property
    def dashboard_url(self) -> str:
        """Address of Ray's dashboard."""
        return f"http://{LOOPBACK}:{self._dashboard_port}"

    def start(self, *, log_level: str) -> None:
        """Return when Serve is ready for applications. Call it in the main thread."""
        assert os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1", "set ray_environment() first"
        import ray  # noqa: PLC0415 - reads the environment at import
        from ray import serve  # noqa: PLC0415

        # The import gave Serve's own logger a handler for this terminal.
        logging.getLogger("ray.serve").setLevel(log_level)
        options: dict[str, Any] = {
            "namespace": self._namespace,
            "log_to_driver": False,
            "logging_level": log_level,
            "configure_logging": False,
            "_node_ip_address": LOOPBACK,
            **self._start_node(),
        }
        ray.init(**options)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": LOOPBACK, "port": self._port},
            logging_config={"log_level": log_level},
        )

    def _start_node(self) -> dict[str, Any]:
        """What ``ray.init`` is told: to start the only node."""
        return {
            "address": "local",  # a left-over cluster file must not make us join anything
            "num_cpus": CPUS,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": True,
            "dashboard_host": LOOPBACK,
            "dashboard_port": self._dashboard_port,
            "_temp_dir": str(self._folder),
        }

    def stop(self) -> None:
        """End Ray and all its processes, HAProxy among them, and keep their logs.

        Nothing is drained: what was acknowledged is stored, and the pages come back by themselves.
        """
        processes = families(str(self._folder))
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        end_all(processes, _STOP_S_MAX)
        self._keep_logs()

    def _keep_logs(self) -> None:
        with suppress(OSError, shutil.Error):  # logs are not worth failing for
            shutil.rmtree(self._logs, ignore_errors=True)
            shutil.copytree(self._folder / "session_latest" / "logs", self._logs)
