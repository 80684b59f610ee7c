"""How often a process looks for reference cycles."""

from __future__ import annotations

import functools
import gc

#: Allocations that set a collection of the youngest off, and how many of those set off one of the middle
#: and of all generations. Python's own (700, 10, 10) look through a batch of answers several times,
#: although reference counts free it, and through everything that lives again and again: with 2,000
#: websockets that held a replica's loop for 0.2 to 0.5 s each time. Nothing on the paths of answers,
#: joins and websockets leaves cycles (``tests/contract/websocket``, "freed without a collection").
#: So the young are looked through for 3 ms at a time, and the old after five million more, which is
#: some 50,000 websockets: what other paths leave behind until then is half a gigabyte at the very most.
_THRESHOLDS = (5_000, 500, 1)


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
