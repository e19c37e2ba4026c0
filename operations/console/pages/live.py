"""Keep open pages up to date: streams of events, some for each operator."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from operations.console.pages.view import HEADERS
from operations.console.pages.visit import Page
from shared.causes import cause_of

#: Streams of one operator at the same time, and of all of them.
_STREAMS_OF_ONE, _STREAMS = 20, 200
_AGAIN_SECONDS: Final = 30
#: Age up to which a part is sent to further browsers, in seconds; number of parts that are kept for it.
_ALIKE_SECONDS, _ALIKE = 2.0, 16
#: Life of one stream in seconds: browsers connect again by themselves.
_STREAM_SECONDS: Final = 600.0
RELOAD: Final = "event: reload\ndata:\n\n"


class Streams:
    """The streams that are open, counted by operator; 0 stands for browsers without a session."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()

    def open(self, operator_id: int, page: Page, next_event: Callable[[], str]) -> Response:
        """Return a stream of events, or why there is none."""
        if self._open[operator_id] >= _STREAMS_OF_ONE:
            return _refused(
                429, f"You have {_STREAMS_OF_ONE} pages open that are kept up to date: close some. This one is not."
            )
        if self._open.total() >= _STREAMS:
            return _refused(
                503, f"{_STREAMS} pages of all operators are kept up to date, and no more: this one is not."
            )
        self._open[operator_id] += 1
        return _Stream(_events(page.live_seconds or _STREAM_SECONDS, next_event), partial(self._close, operator_id))

    def _close(self, operator_id: int) -> None:
        self._open[operator_id] -= 1
        if not self._open[operator_id]:
            del self._open[operator_id]


class Parts:
    """Events of pages that are the same for all operators: fifty browsers cost little more than one."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def get(self, address: str, make: Callable[[], str]) -> str:
        """Return the event of an address, made a short time ago or now."""
        made_at, event = self._made.get(address, (0.0, ""))
        if event and time.monotonic() - made_at < _ALIKE_SECONDS:
            return event
        event = make()
        self._made[address] = (time.monotonic(), event)
        if len(self._made) > _ALIKE:
            self._made.popitem(last=False)
        return event


class _Stream(StreamingResponse):
    """A stream that says when it has ended, however that came."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        super().__init__(events, headers={**HEADERS, "X-Accel-Buffering": "no"})
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the browser goes."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def _events(seconds: float, next_event: Callable[[], str]) -> AsyncIterator[str]:
    deadline = asyncio.get_running_loop().time() + _STREAM_SECONDS
    yield "retry: 3000\n\n"
    while asyncio.get_running_loop().time() < deadline:
        event = await run_in_threadpool(next_event)
        yield event
        if event == RELOAD:
            return
        await asyncio.sleep(seconds)


def part(html: str) -> str:
    """Return the event that replaces the part of a page that changes."""
    return "event: part\n" + "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def fault(error: Exception) -> str:
    """Return the event that says why there is no new part."""
    return f"event: fault\ndata: {cause_of(error)}\n\n"


def _refused(status: int, sentence: str) -> Response:
    headers: dict[str, Any] = {**HEADERS, "Retry-After": str(_AGAIN_SECONDS)}
    return PlainTextResponse(sentence, status, headers)
