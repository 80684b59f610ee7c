"""Bounds what Serve reads of a request's body ahead of the application.

Serve 2.60 takes the messages of a request off uvicorn as they arrive, to notice a client that goes
away (``ray/serve/_private/direct_ingress_http_util.py``). Its queue has no bound: a body that the
application refuses, or has not come to yet, would pile up in the replica's memory. With a bound,
uvicorn stops reading from the socket instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

#: Messages of one request: the end of its body and the client's departure, so that the departure is
#: noticed by an application that reads no body. uvicorn makes messages of 64 KiB or little more.
MESSAGES_MAX = 2


def bound_read_ahead() -> None:
    """Call in the replica's process before Serve starts its HTTP server."""
    from ray.serve._private import replica  # noqa: PLC0415 - only where replicas run

    names = vars(replica)
    unbounded: Any = names["ASGIDIReceiveProxy"]

    class BoundedReceiveProxy(unbounded):  # type: ignore[misc]
        """Serve's own, with a bounded queue for HTTP."""

        def __init__(
            self, scope: Any, receive: Any, user_event_loop: asyncio.AbstractEventLoop
        ) -> None:
            super().__init__(scope, receive, user_event_loop)
            # With the application on a loop of its own, Serve puts without waiting.
            if self._type == "http" and user_event_loop is asyncio.get_running_loop():
                self._queue: asyncio.Queue[Any] = asyncio.Queue(MESSAGES_MAX)

    names["ASGIDIReceiveProxy"] = BoundedReceiveProxy
