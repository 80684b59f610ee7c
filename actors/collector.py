"""How often a process looks for reference cycles."""

from __future__ import annotations

import functools
import gc

#: Allocations, and collections of the younger generation, that set a collection off. Python's own
#: (700, 10, 10) look through a batch of answers several times, although reference counts free it.
#: The oldest are looked through after 180,000 more, not later: each websocket that closes leaves a
#: hundred objects there in cycles, which filled a replica by 2 MB for every 500 of them.
_THRESHOLDS = (20_000, 2, 2)


@functools.cache
def collect_seldom() -> None:
    """Keep what the process has loaded out of every collection, and collect more seldom.

    To be called when the process is ready to serve. Once is enough: what is garbage by the time of a
    second call would be kept for ever, so that does nothing. Measured on the replica of the websockets
    in `make bench`: a tenth to a fifth of its processor time for an answer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
