"""Ray's nodes, as far as the supervisor must know them: which will go, and whether others have room.

Ray moves no detached actor off a node that is being drained, and tells it nothing; it only starts
none there any more. Both questions have private answers in Ray 2.60, which ``make chaos`` pins.
"""

from __future__ import annotations

from typing import Any

import psutil
import ray
from ray._private.state import available_resources_per_node
from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled

_GCS_S_MAX = 5.0


class Nodes:
    """Asks Ray's head; every method blocks for a moment."""

    def __init__(self) -> None:
        self._gcs: Any = None

    def leaving(self) -> set[str]:
        """Ids of the nodes that are being drained; none when the head does not say."""
        try:
            if self._gcs is None:
                self._gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
            return set(self._gcs.get_draining_nodes(timeout=_GCS_S_MAX))
        except Exception:  # noqa: BLE001 - of many kinds; the head is away, and nothing moves then
            return set()

    @staticmethod
    def free_memory_bytes() -> float:
        """Memory that nobody has asked Ray for; of a lone node no more than what is free there.

        0 when the head does not say.
        """
        found: dict[str, dict[str, float]]
        try:
            found = available_resources_per_node()  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - of many kinds; the head is away, and nothing extra starts then
            return 0.0
        unasked = sum(room.get("memory", 0.0) for room in found.values())
        return unasked if len(found) > 1 else min(unasked, psutil.virtual_memory().available)

    @staticmethod
    def have_room(cpus: float, memory_bytes: float, without: set[str]) -> bool:
        """Whether one of the nodes that stay has so much that nobody has asked for."""
        found: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
        return any(
            room.get("CPU", 0.0) >= cpus and room.get("memory", 0.0) >= memory_bytes
            for node, room in found.items()
            if node not in without
        )
