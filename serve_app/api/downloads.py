"""Long files that are made page by page while they are sent."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engine import limits
from engine.errors import Unavailable
from engine.ids import SessionId

log = logging.getLogger(__name__)


class Downloads:
    """Bounds the memory and the time that long files take on one replica.

    As many are under way at once as ``DOWNLOADS_MAX`` says, of one session ``DOWNLOADS_SESSION_MAX``.
    They take turns: one page at a time is read and made, whoever it is for. While a page is on its
    way to its reader, no connection to the database is held.
    """

    def __init__(self) -> None:
        self._held: Counter[SessionId] = Counter()
        self._making = asyncio.Lock()

    def begin(self, session_id: SessionId) -> None:
        """Take a place, to be given back by :meth:`end`.

        Raises:
            Unavailable: code ``overloaded``: as many files as may be are being sent already.
        """
        if (
            self._held.total() >= limits.DOWNLOADS_MAX
            or self._held[session_id] >= limits.DOWNLOADS_SESSION_MAX
        ):
            raise Unavailable(
                f"download: {self._held[session_id]} of this session and {self._held.total()} in all "
                "are being sent; try again later",
                "overloaded",
            )
        self._held[session_id] += 1

    def end(self, session_id: SessionId) -> None:
        """Give a place back."""
        self._held[session_id] -= 1
        if not self._held[session_id]:
            del self._held[session_id]

    async def next(self, file: AsyncGenerator[bytes, None]) -> bytes | None:
        """The next piece of a file; None behind the last one."""
        async with self._making:
            return await anext(file, None)


class Download(Response):
    """A response whose body is made while it is sent, in chunks.

    The status is sent when the first piece is there: what fails before is told as any other error.
    What fails later, a reader that takes nothing for ``DOWNLOAD_STALL_MS_MAX``, and one that has not
    taken all within ``DOWNLOAD_MS_MAX`` end the connection without the last chunk, by which every
    client of HTTP/1.1 tells that the file is not whole. Source: RFC 9112, section 8.

    Args:
        downloads: of the replica.
        session_id: whose file it is.
        file: its pieces.
        media_type: of the file.
    """

    def __init__(
        self,
        downloads: Downloads,
        session_id: SessionId,
        file: AsyncGenerator[bytes, None],
        media_type: str,
    ) -> None:
        super().__init__(media_type=media_type, headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._downloads = downloads
        self._session_id = session_id
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the file.

        Raises:
            QuizError: what making the file raises; Unavailable: there is no place.
            TimeoutError: the reader is too slow.
        """
        self._downloads.begin(self._session_id)
        try:
            async with asyncio.timeout(limits.DOWNLOAD_MS_MAX / 1000), aclosing(self._file) as file:
                piece = await self._downloads.next(file)
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                while piece is not None:
                    async with asyncio.timeout(limits.DOWNLOAD_STALL_MS_MAX / 1000):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await self._downloads.next(file)
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.warning("action=download_too_slow session=%s", self._session_id)
            raise
        finally:
            self._downloads.end(self._session_id)
