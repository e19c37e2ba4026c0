"""Read a request's body within its limits: bytes as received, bytes after decompression, time, and memory in flight.

A declared length over the limit is refused before a byte is read, an undeclared one is counted as it arrives, and gzip
is inflated in steps under the same limit. Bytes that this process holds are counted; past the setting, it answers 503.
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

#: Maximum time for a whole body in seconds; 30 MB at 100 KB/s.
_MAX_BODY_SECONDS: Final = 300.0
_JSON: Final = b"application/json"
#: zlib's code for gzip with the largest window.
_GZIP_WBITS: Final = 31
_INFLATE_OUTPUT_BYTES: Final = 1_048_576
_INFLATE_INPUT_BYTES: Final = 16_384
_MAX_GZIP_MEMBERS: Final = 10_000
#: Maximum decompressed size in bytes of a body that is inflated on the event loop: 30 KB may inflate to 30 MB.
_INFLATE_AT_ONCE_BYTES: Final = 65_536
#: Size in bytes from which a body is validated in a thread; a hostile one of this size takes milliseconds.
_VALIDATE_IN_THREAD_BYTES: Final = 131_072
#: Precision of the gauge of bytes in flight.
_GAUGE_STEP_BYTES: Final = 65_536
#: Apart from asyncio's own threads, which connections to Redis and Postgres need.
_BODY_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="body")

Result = TypeVar("Result")


class Reservation:
    """The bytes that one request holds in memory; released at the end of the `with` block."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self.held)

    def grow_to(self, size: int) -> None:
        """Hold `size` bytes in total. Raises ApiError(overloaded) if the process has no room for them."""
        if size > self.held:
            self._budget.take(size - self.held)
            self.held = size

    def require_room(self, size: int) -> None:
        """Raise ApiError(overloaded) if `size` bytes in total would not fit now; reserves nothing."""
        self._budget.require_room(size - self.held)


class MemoryBudget:
    """Bytes of bodies that this process may hold at once. Locked, since large bodies are inflated in threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.used = 0
        self._gauge = 0

    def take(self, size: int) -> None:
        """Count `size` more bytes. Raises ApiError(overloaded) if that would pass the limit."""
        with self._lock:
            self.require_room(size)
            self._change(size)

    def release(self, size: int) -> None:
        """Count `size` bytes less."""
        with self._lock:
            self._change(-size)

    def _change(self, size: int) -> None:
        self.used += size
        # Setting a gauge takes longer than the rest of this, so it moves in steps; an idle process shows 0.
        if abs(self.used - self._gauge) >= _GAUGE_STEP_BYTES or (self._gauge and not self.used):
            self._gauge = self.used
            INFLIGHT_BYTES.set(self.used)

    def require_room(self, size: int) -> None:
        """Raise ApiError(overloaded) if `size` more bytes would pass the limit."""
        if self.used + size > self._limit:
            raise ApiError(ErrorCode.OVERLOADED)


class BodyReader:
    """Reads bodies within the process's memory budget."""

    def __init__(self, memory: MemoryBudget, *, idle_timeout: float) -> None:
        """`idle_timeout`: maximum time without a byte of the body, in seconds."""
        self._memory = memory
        self._idle_timeout = idle_timeout

    def reserve(self) -> Reservation:
        """Return a reservation that holds nothing yet."""
        return Reservation(self._memory)

    async def read(self, context: RequestContext, receive: Receive, reservation: Reservation) -> bytes:
        """Return the whole body, decompressed. It must be declared as JSON, unless it is empty.

        Raises ApiError: unsupported_media_type, unsupported_encoding, body_too_large, body_timeout, incomplete_body,
        invalid_compression, overloaded.
        """
        declared = require_readable(context)
        reservation.require_room(declared)
        body = context.received_body()
        if body is None:
            body = await _receive_all(context, receive, reservation, self._idle_timeout)
        else:  # nearly always, and without a timer, which would cost more than the rest of this
            _count(body, context, reservation)
        if not declared and body and context.header(b"content-type") is None:  # it came in chunks
            raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
        if not _is_gzip(context):
            return body
        small = inflate_small(body)
        if small is not None:
            reservation.grow_to(len(body) + len(small))
            return small
        return await _in_body_thread(inflate, body, reservation)


def require_readable(context: RequestContext) -> int:
    """Refuse a body by its headers; return its declared length, 0 if there is none.

    Raises ApiError: unsupported_media_type, unsupported_encoding, body_too_large.
    """
    content_type = context.header(b"content-type")
    # The HTTP protocol has refused lengths that are not numbers, and passes on no more than was declared.
    declared = int(context.header(b"content-length") or 0)
    if (declared and content_type is None) or (content_type is not None and not _is_json(content_type)):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    _is_gzip(context)
    if declared > MAX_BODY_BYTES:
        raise _too_large(declared)
    return declared


def _is_json(content_type: bytes) -> bool:
    return content_type == _JSON or content_type.partition(b";")[0].strip().lower() == _JSON


def _is_gzip(context: RequestContext) -> bool:
    """Return True for gzip, False for identity. Raises ApiError(unsupported_encoding)."""
    encoding = context.header(b"content-encoding")
    if encoding is None:
        return False
    encoding = encoding.strip().lower()
    if encoding not in (b"gzip", b"x-gzip", b"identity"):
        raise ApiError(ErrorCode.UNSUPPORTED_ENCODING)
    return encoding != b"identity"


async def run_validation(body: bytes, validate: Callable[[bytes], Result]) -> Result:
    """Return `validate(body)`; runs in a thread for a large body, since a hostile one can take seconds."""
    if len(body) <= _VALIDATE_IN_THREAD_BYTES:
        return validate(body)
    return await _in_body_thread(validate, body)


async def _in_body_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_BODY_THREADS, work, *arguments)


async def _receive_all(
    context: RequestContext, receive: Receive, reservation: Reservation, idle_timeout: float
) -> bytes:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _MAX_BODY_SECONDS
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(idle_timeout) as timeout:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(ErrorCode.INCOMPLETE_BODY)
                chunk = message.get("body", b"")
                chunks.append(chunk)
                _count(chunk, context, reservation)
                more = message.get("more_body", False)
                timeout.reschedule(min(loop.time() + idle_timeout, deadline))
    except TimeoutError:
        raise ApiError(
            ErrorCode.BODY_TIMEOUT,
            f"The body did not arrive in time: no data for {idle_timeout:g} seconds, or not all of it in "
            f"{_MAX_BODY_SECONDS:g}; send it without pauses.",
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _count(chunk: bytes, context: RequestContext, reservation: Reservation) -> None:
    context.received_bytes += len(chunk)
    if context.received_bytes > MAX_BODY_BYTES:
        raise _too_large(context.received_bytes)
    reservation.grow_to(context.received_bytes)


def inflate_small(data: bytes) -> bytes | None:
    """Decompress a gzip body of one member that stays small; None leaves any other to `inflate`."""
    member = zlib.decompressobj(_GZIP_WBITS)
    try:
        output = member.decompress(data, _INFLATE_AT_ONCE_BYTES)
    except zlib.error:
        return None
    return output if member.eof and not member.unused_data else None


def inflate(data: bytes, reservation: Reservation) -> bytes:
    """Decompress gzip data of one or more members. Raises ApiError once the output is over the body limit."""
    output = _InflatedBody(len(data), reservation)
    member, members = zlib.decompressobj(_GZIP_WBITS), 1
    try:
        # Small pieces: zlib copies all data that follows a member, and there may be thousands of members.
        for start in range(0, len(data), _INFLATE_INPUT_BYTES):
            rest = data[start : start + _INFLATE_INPUT_BYTES]
            while rest:
                if member.eof:
                    rest = rest.lstrip(b"\0")  # padding, which gzip ignores too
                    if not rest:
                        break
                    member, members = zlib.decompressobj(_GZIP_WBITS), members + 1
                    if members > _MAX_GZIP_MEMBERS:
                        raise ApiError(
                            ErrorCode.INVALID_COMPRESSION,
                            "The gzip data has too many members; compress the body as one.",
                        )
                output.add(member.decompress(rest, _INFLATE_OUTPUT_BYTES))
                rest = member.unused_data if member.eof else member.unconsumed_tail
        while not member.eof and (piece := member.decompress(b"", _INFLATE_OUTPUT_BYTES)):
            output.add(piece)
    except zlib.error:
        raise ApiError(ErrorCode.INVALID_COMPRESSION) from None
    if not member.eof:
        raise ApiError(ErrorCode.INVALID_COMPRESSION, "The gzip data is cut off; send all of it.")
    return b"".join(output.pieces)


class _InflatedBody:
    """The decompressed pieces so far, within the limits."""

    def __init__(self, compressed: int, reservation: Reservation) -> None:
        self.pieces: list[bytes] = []
        self._compressed = compressed
        self._size = 0
        self._reservation = reservation

    def add(self, piece: bytes) -> None:
        """Append a piece. Raises ApiError(body_too_large) or ApiError(overloaded)."""
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
