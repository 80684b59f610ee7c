"""A head of Ray that can be lost: it keeps its state in a Redis, as GCS fault tolerance has it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from serve_app.embedded.ports import LOOPBACK, PortBlock
from serve_app.embedded.process import ChildProcess
from serve_app.embedded.ray_runtime import CPUS, OBJECT_STORE_BYTES, RayRuntime
from serve_app.embedded.valkey import server_binary

if TYPE_CHECKING:
    from ray._private.node import Node

_STOP_S_MAX = 3.0


class Head:
    """The head, and what it keeps its state in; it comes back where it was, as a pod with a Service."""

    def __init__(self, folder: Path) -> None:
        self._ports = PortBlock.claim()
        self._port = self._ports.take()
        store = self._ports.take()
        self._store_address = f"{LOOPBACK}:{store}"
        command = [str(server_binary()), "--bind", LOOPBACK, "--port", str(store), "--save", ""]
        command += ["--dir", str(folder)]
        log = folder / "store.log"
        self._store = ChildProcess("Valkey", command, log, end_signal=signal.SIGTERM)
        self._node: Node | None = None
        self._again: Callable[[], None]

    def start(self, folder: Path, dashboard_port: int) -> None:
        """Return when it is there. ``folder`` is Ray's."""
        from ray._private.node import Node  # noqa: PLC0415 - reads the environment at import
        from ray._private.parameter import RayParams  # noqa: PLC0415

        self._again = partial(self.start, folder, dashboard_port)
        params = RayParams(
            external_addresses=[self._store_address, self._store_address],
            num_redis_shards=1,
            gcs_server_port=self._port,
            temp_dir=str(folder),
            node_ip_address=LOOPBACK,
            num_cpus=CPUS,
            num_gpus=0,
            # Room for no SessionActor: each lives on another node.
            memory=1,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host=LOOPBACK,
            dashboard_port=dashboard_port,
            min_worker_port=0,
            max_worker_port=0,
            include_log_monitor=False,
        )
        self._node = Node(params, head=True, shutdown_at_exit=False, spawn_reaper=False)

    def aim(self) -> Callable[[], None]:
        """What kills it with all that runs on it, the front among it, and starts it again."""
        node = self._node
        assert node is not None
        started = [one.process.pid for kind in node.all_processes.values() for one in kind]
        family = [
            process
            for main in map(psutil.Process, started)
            for process in (main, *main.children(recursive=True))
        ]

        def strike() -> None:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
            self._again()

        return strike

    @property
    def address(self) -> str:
        """Where the other nodes find it, also when it has come back."""
        return f"{LOOPBACK}:{self._port}"

    def end(self) -> None:
        """End what it keeps its state in; the rest ends with Ray."""
        self._store.stop(_STOP_S_MAX)
        self._ports.release()


class RuntimeWithHead(RayRuntime):
    """Ray on several nodes; we are a driver on one that stays, and the head may go."""

    def __init__(self, head: Head, *where: Any, **more: Any) -> None:
        super().__init__(*where, **more)
        self._head = head

    def _start_node(self) -> dict[str, Any]:
        from tests.chaos.nodes import OtherNodes  # noqa: PLC0415 - imports ray

        self._head.start(self._folder, self._dashboard_port)
        # A folder of their own, by which the driver chooses one of them.
        folder = str(self._folder / "n")
        OtherNodes(self._head.address, folder).fill_up()
        return {"address": self._head.address, "_temp_dir": folder}
