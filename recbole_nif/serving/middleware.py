"""Around all requests: a bound on their size, an answer whatever happens, a count and the time of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from recbole_nif.serving.metrics import Metrics

DRAINED = 8  # times the bound is still read, so that a client who sends too much can read why

logger = logging.getLogger(__name__)


class BodyLimit:
    """Refuses bodies of more than ``most`` bytes, announced or not, and never holds more of one."""

    def __init__(self, app, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.most:
            await self._drain(receive, more=True)
            return await JSONResponse({"error": self._sentence()}, 413)(scope, receive, send)
        size = 0

        async def bounded():
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most:
                await self._drain(receive, message.get("more_body", False))
                raise HTTPException(413, self._sentence())
            return message

        await self.app(scope, bounded, send)

    def _sentence(self) -> str:
        return f"The body has more than {self.most:,} bytes: ask for less at once."

    async def _drain(self, receive, more: bool) -> None:
        size = 0
        while more and size < DRAINED * self.most:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)


class Observed:
    """Tells ``metrics`` of requests, and the log of errors; paths that are not ``known`` count as one."""

    def __init__(self, app, metrics: Metrics, known: Collection[str]):
        self.app, self.metrics, self.known = app, metrics, frozenset(known)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), None

        async def told(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, told)
        except Exception:
            logger.exception("%s failed", scope["path"])
            if status is not None:  # half an answer has gone already
                raise
            await JSONResponse({"error": "The service failed; its log says why."}, 500)(scope, receive, told)
        finally:
            path = scope["path"] if scope["path"] in self.known else "other"
            self.metrics.answered(path, status or 500, time.perf_counter() - started)
