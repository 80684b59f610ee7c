"""More nodes of Ray on this machine, each a raylet with workers of its own, to be lost one by one."""

from __future__ import annotations

import psutil
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled
from ray.core.generated import autoscaler_pb2

_CPUS = 4
_MEMORY_BYTES = 4 * 1024**3
_OBJECT_STORE_BYTES = 80 * 1024**2
_LOOPBACK = "127.0.0.1"


class OtherNodes:
    """Nodes beside the head's own. The head must have no memory to give, so that actors go here.

    Args:
        gcs_address: the head's, as "host:port".
        folder: Ray's temporary folder on these nodes.
    """

    def __init__(self, gcs_address: str, folder: str) -> None:
        self._gcs_address = gcs_address
        self._folder = folder
        self._nodes: list[Node] = []

    def fill_up(self, count: int = 2) -> None:
        """Start nodes until so many live."""
        self._nodes = [node for node in self._nodes if node.remaining_processes_alive()]
        while len(self._nodes) < count:
            params = RayParams(
                gcs_address=self._gcs_address,
                temp_dir=self._folder,
                node_ip_address=_LOOPBACK,
                num_cpus=_CPUS,
                num_gpus=0,
                memory=_MEMORY_BYTES,
                object_store_memory=_OBJECT_STORE_BYTES,
                min_worker_port=0,
                max_worker_port=0,
                include_log_monitor=False,
            )
            self._nodes.append(Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False))

    def of(self, pid: int) -> list[int]:
        """The raylet above a process, and everything below that raylet: their process ids."""
        for parent in psutil.Process(pid).parents():
            if parent.name() == "raylet":
                return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
        raise AssertionError(f"process {pid} runs on no node")

    def drain(self, node_id: str) -> None:
        """Announce that a node will go, as autoscalers do."""
        gcs = GcsClient(address=self._gcs_address)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = gcs.drain_node(node_id, reason, "chaos", 0)
        assert accepted, why

    def end(self) -> None:
        """End them all."""
        for node in self._nodes:
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
