"""Reads a request's body under its limits: bytes as received, bytes after decompression, time, and memory in flight.

Nothing is trusted: a declared length is refused before a byte is read, an undeclared one is counted as it comes, gzip
is inflated in steps under the same limit. Bytes that this process holds are counted; beyond the setting, 503.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

from starlette.types import Receive

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import INFLIGHT_BYTES
from shared.limits import MAX_BODY_BYTES

#: However steadily a body drips in, it must be there by then: 30 MB at 100 KB/s.
_LONGEST_BODY_SECONDS: Final = 300.0
_JSON: Final = b"application/json"
_GZIP_WBITS: Final = 31
_INFLATE_STEP_BYTES: Final = 1_048_576
_INFLATE_INPUT_BYTES: Final = 16_384
_MOST_MEMBERS: Final = 10_000
#: Inflating more than this is done in a thread: zlib lets go of the interpreter meanwhile.
_INFLATE_IN_THREAD_BYTES: Final = 65_536
_JUDGED_AT_ONCE_BYTES: Final = 131_072
#: The gauge of bytes in flight is exact to this.
_SHOWN_STEP_BYTES: Final = 65_536


_BODY_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="body")

Result = TypeVar("Result")


class Reservation:
    """The bytes that one request holds in memory; given back at the end of the `with` block."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self.held)

    def grow_to(self, size: int) -> None:
        """Holds `size` bytes in all. Raises ApiError where the process has no room for them."""
        if size > self.held:
            self._budget.take(size - self.held)
            self.held = size

    def require_room(self, size: int) -> None:
        """Raises ApiError where `size` bytes in all would not fit now; holds nothing, for nothing has come yet."""
        self._budget.require_room(size - self.held)


class MemoryBudget:
    """Bytes of bodies that this process may hold at once. Large bodies are inflated in threads, hence the lock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.used = 0
        self._shown = 0

    def reservation(self) -> Reservation:
        """Holds nothing yet."""
        return Reservation(self)

    def take(self, size: int) -> None:
        """Counts `size` more bytes. Raises ApiError where that would pass the limit."""
        with self._lock:
            self.require_room(size)
            self._change(size)

    def give_back(self, size: int) -> None:
        """Counts `size` bytes less."""
        with self._lock:
            self._change(-size)

    def _change(self, size: int) -> None:
        self.used += size
        # In steps, since a gauge takes longer than all else here; but an idle process shows none.
        if abs(self.used - self._shown) >= _SHOWN_STEP_BYTES or (self._shown and not self.used):
            self._shown = self.used
            INFLIGHT_BYTES.set(self.used)

    def require_room(self, size: int) -> None:
        """Raises ApiError where `size` more bytes would pass the limit."""
        if self.used + size > self._limit:
            raise ApiError(ErrorCode.OVERLOADED)


async def read_body(context: RequestContext, receive: Receive, reservation: Reservation, *, patience: float) -> bytes:
    """The whole body, decompressed. `patience`: seconds in which at least something must arrive.

    Raises ApiError: body_too_large, body_timeout, incomplete_body, unsupported_encoding, invalid_compression,
    overloaded.
    """
    encoding = (context.header(b"content-encoding") or b"identity").strip().lower()
    if encoding not in (b"gzip", b"identity"):
        raise ApiError(ErrorCode.UNSUPPORTED_ENCODING)
    declared = _declared_length(context)
    if declared > MAX_BODY_BYTES:
        raise _too_large(declared)
    reservation.require_room(declared)
    body = context.body_at_hand()
    if body is None:
        body = await _receive_all(context, receive, reservation, patience)
    else:  # nearly always: no wait, so no timer, which costs more than the rest of this
        _take(body, context, reservation)
    return await _inflate(body, reservation) if encoding == b"gzip" else body


def require_json(context: RequestContext, *, body_optional: bool = False) -> None:
    """Refuses a body of another media type."""
    content_type = context.header(b"content-type")
    if content_type is None and body_optional and not context.has_body:
        return
    if content_type == _JSON:
        return
    if (content_type or b"").partition(b";")[0].strip().lower() != _JSON:
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)


async def judged(body: bytes, judge: Callable[[bytes], Result]) -> Result:
    """What `judge` says of a body; a long one is judged in a thread, for a contrived one can take seconds."""
    if len(body) <= _JUDGED_AT_ONCE_BYTES:
        return judge(body)
    return await in_body_thread(judge, body)


def _declared_length(context: RequestContext) -> int:
    # The server has refused what is not a number, and never passes on more than was declared.
    return int(context.header(b"content-length") or 0)


async def _receive_all(context: RequestContext, receive: Receive, reservation: Reservation, patience: float) -> bytes:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LONGEST_BODY_SECONDS
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(patience) as limit:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(ErrorCode.INCOMPLETE_BODY)
                chunk = message.get("body", b"")
                chunks.append(chunk)
                _take(chunk, context, reservation)
                more = message.get("more_body", False)
                limit.reschedule(min(loop.time() + patience, deadline))
    except TimeoutError:
        sentence = f"The body stopped arriving: nothing for {patience:g} seconds, or not all of it in "
        raise ApiError(ErrorCode.BODY_TIMEOUT, f"{sentence}{_LONGEST_BODY_SECONDS:g}; send it in one go.") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _take(chunk: bytes, context: RequestContext, reservation: Reservation) -> None:
    context.received_bytes += len(chunk)
    if context.received_bytes > MAX_BODY_BYTES:
        raise _too_large(context.received_bytes)
    reservation.grow_to(context.received_bytes)


async def in_body_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Does long work on a body beside the event loop, and beside the threads that everything else waits for."""
    return await asyncio.get_running_loop().run_in_executor(_BODY_THREADS, work, *arguments)


async def _inflate(data: bytes, reservation: Reservation) -> bytes:
    if len(data) <= _INFLATE_IN_THREAD_BYTES:
        return inflate(data, reservation)
    return await in_body_thread(inflate, data, reservation)


def inflate(data: bytes, reservation: Reservation) -> bytes:
    """Decompresses gzip data (of several members too), never past the body limit."""
    output = _Output(len(data), reservation)
    member, members = zlib.decompressobj(_GZIP_WBITS), 1
    try:
        # In small pieces: what follows a member is copied, and there may be very many members.
        for start in range(0, len(data), _INFLATE_INPUT_BYTES):
            rest = data[start : start + _INFLATE_INPUT_BYTES]
            while rest:
                if member.eof:
                    member, members = zlib.decompressobj(_GZIP_WBITS), members + 1
                    if members > _MOST_MEMBERS:
                        raise ApiError(
                            ErrorCode.INVALID_COMPRESSION, "The gzip data has too many members; compress it whole."
                        )
                output.add(member.decompress(rest, _INFLATE_STEP_BYTES))
                rest = member.unused_data if member.eof else member.unconsumed_tail
        while not member.eof and (piece := member.decompress(b"", _INFLATE_STEP_BYTES)):
            output.add(piece)
    except zlib.error:
        raise ApiError(ErrorCode.INVALID_COMPRESSION) from None
    if not member.eof:
        raise ApiError(ErrorCode.INVALID_COMPRESSION, "The gzip data is cut short; send all of it.")
    return b"".join(output.pieces)


class _Output:
    """What was inflated so far, within its limits."""

    def __init__(self, compressed: int, reservation: Reservation) -> None:
        self.pieces: list[bytes] = []
        self._compressed = compressed
        self._size = 0
        self._reservation = reservation

    def add(self, piece: bytes) -> None:
        """Takes a piece. Raises ApiError where it is one too many."""
        self.pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise _too_large(self._size)
        self._reservation.grow_to(self._compressed + self._size)


def _too_large(observed: int) -> ApiError:
    return ApiError(
        ErrorCode.BODY_TOO_LARGE,
        f"The body is over {MAX_BODY_BYTES} bytes; split the batch into several requests.",
        limit=MAX_BODY_BYTES,
        observed=observed,
    )
