"""Read a request's body within its limits: bytes as received, bytes after decompression, time, and memory in flight.

A declared length over the limit is refused before a byte is read, an undeclared one is counted as it arrives, and gzip
is inflated in steps under the same limit. Bytes that this process holds are counted (`memory`); past the setting, or
past the connector's share, it answers 503. Whatever may take long happens in a thread, when it is the connector's turn
(`turns`).
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from starlette.types import Receive

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.memory import MemoryBudget, Reservation
from ingest_api.http.pace import MAX_BODY_SECONDS, MIN_BYTES_PER_SECOND, PERIOD_BYTES, Pace
from ingest_api.http.turns import BodyThreads
from shared.limits import MAX_BODY_BYTES

_JSON: Final = b"application/json"
_JSON_BY_SUFFIX: Final = re.compile(rb"application/[a-z0-9!#$&^_.+-]+\+json")
#: zlib's code for gzip with the largest window.
_GZIP_WBITS: Final = 31
_INFLATE_OUTPUT_BYTES: Final = 1_048_576
_INFLATE_INPUT_BYTES: Final = 16_384
_MAX_GZIP_MEMBERS: Final = 10_000
#: Maximum decompressed size in bytes of a body that is inflated on the event loop: 30 KB may inflate to 30 MB.
_INFLATE_AT_ONCE_BYTES: Final = 65_536
#: Size in bytes from which a body is examined in a thread; a hostile one of this size takes milliseconds.
_IN_THREAD_BYTES: Final = 131_072
#: Times its size on the wire from which a body cost its client almost nothing; JSON shrinks to a tenth as a rule.
_CHEAP_TIMES: Final = 50

Result = TypeVar("Result")


class BodyReader:
    """Reads bodies within the process's memory budget."""

    def __init__(self, memory: MemoryBudget, threads: BodyThreads, *, idle_timeout: float) -> None:
        """`idle_timeout`: maximum time without a byte of the body, in seconds."""
        self._memory = memory
        self._threads = threads
        self._idle_timeout = idle_timeout

    def reserve(self, connector_id: int) -> Reservation:
        """Return a reservation that holds nothing yet."""
        return Reservation(self._memory, connector_id)

    async def read(
        self, context: RequestContext, receive: Receive, reservation: Reservation, examine: Callable[[bytes], Result]
    ) -> tuple[bytes, Result]:
        """Return the whole body, decompressed, and what `examine` makes of it. It must be JSON, unless it is empty.

        Raises ApiError: unsupported_media_type, unsupported_encoding, body_too_large, body_timeout, incomplete_body,
        invalid_compression, overloaded, connector_overloaded, and what `examine` raises.
        """
        reservation.claim(require_readable(context))
        body = context.received_body()
        if body is None:
            body = await _receive_all(context, receive, reservation, self._idle_timeout)
        else:  # nearly always, and without a timer, which would cost more than the rest of this
            _count(body, context, reservation)
        size = context.received_bytes
        if size and context.header(b"content-type") is None:  # it came in chunks: its length was unknown
            raise _not_json(context)
        is_gzip = _is_gzip(context)
        if size <= _IN_THREAD_BYTES:
            small = inflate_small(body) if is_gzip else body
            if small is not None:
                reservation.grow_to(size + len(small) if is_gzip else size)
                return small, examine(small)
        return await self._threads.run(
            partial(_examine_large, body, reservation, examine, is_gzip=is_gzip),
            reservation.connector_id,
            most_bytes=MAX_BODY_BYTES if is_gzip else size,
            has_left=context.client_left,
            was_cheap=lambda examined: len(examined[0]) > _CHEAP_TIMES * size,
        )


def _examine_large(
    body: bytes, reservation: Reservation, examine: Callable[[bytes], Result], *, is_gzip: bool
) -> tuple[bytes, Result]:
    if is_gzip:
        body = inflate(body, reservation)
    return body, examine(body)


def require_readable(context: RequestContext) -> int:
    """Refuse a body by its headers; return its declared length, 0 if there is none.

    Raises ApiError: unsupported_media_type, unsupported_encoding, body_too_large.
    """
    content_type = context.header(b"content-type")
    # The HTTP protocol has refused lengths that are not numbers, and passes on no more than was declared.
    declared = int(context.header(b"content-length") or 0)
    if (declared and content_type is None) or (content_type is not None and not _is_json(content_type, context)):
        raise _not_json(context)
    _is_gzip(context)
    if declared > MAX_BODY_BYTES:
        raise _too_large(declared)
    return declared


def _is_json(content_type: bytes, context: RequestContext) -> bool:
    if content_type == _JSON:
        return True
    named = content_type.partition(b";")[0].strip().lower()
    return named == _JSON or (context.takes_suffix and _JSON_BY_SUFFIX.fullmatch(named) is not None)


def _not_json(context: RequestContext) -> ApiError:
    both = "`Content-Type` is missing or neither `application/json` nor `application/*+json`; send one of them."
    return ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, both if context.takes_suffix else None)


def _is_gzip(context: RequestContext) -> bool:
    """Return True for gzip, False for identity. Raises ApiError(unsupported_encoding)."""
    encoding = context.header(b"content-encoding")
    if encoding is None:
        return False
    encoding = encoding.strip().lower()
    if encoding not in (b"gzip", b"x-gzip", b"identity"):
        raise ApiError(ErrorCode.UNSUPPORTED_ENCODING)
    return encoding != b"identity"


async def _receive_all(
    context: RequestContext, receive: Receive, reservation: Reservation, idle_timeout: float
) -> bytes:
    clock = asyncio.get_running_loop().time
    pace = Pace(clock(), idle_seconds=idle_timeout, declared=int(context.header(b"content-length") or 0))
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout_at(pace.deadline(clock())) as timeout:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(ErrorCode.INCOMPLETE_BODY)
                piece = message.get("body", b"")
                pieces.append(piece)
                _count(piece, context, reservation)
                more = message.get("more_body", False)
                pace.add(len(piece), clock())
                timeout.reschedule(pace.deadline(clock()))
    except TimeoutError:
        raise ApiError(
            ErrorCode.BODY_TIMEOUT,
            f"The body did not arrive in time: no data for {idle_timeout:g} seconds, not all of it in "
            f"{MAX_BODY_SECONDS:g}, or one of over {PERIOD_BYTES // 1024} KB at less than "
            f"{MIN_BYTES_PER_SECOND / 1024:.0f} KB a second; send it without pauses.",
        ) from None
    # Here: what is freed in one thread is not used again by another one.
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
