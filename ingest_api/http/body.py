"""Read a request's body within its limits: bytes as received, bytes after decompression, time, and memory in flight.

A declared length over the limit is refused before a byte is read, an undeclared one is counted as it arrives, and gzip
is inflated in steps under the same limit. Bytes that this process holds are counted (`memory`); past the setting, or
past the connector's share, it answers 503. Whatever may take long happens when it is the connector's turn (`turns`): in
a thread, or of a large body in another process (`body_processes`).
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Final

from starlette.types import Receive

from ingest_api.checks import Body, Check, Findings
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body_processes import BodyProcesses
from ingest_api.http.inflation import body_too_large, inflate_small
from ingest_api.http.memory import MemoryBudget, Reservation
from ingest_api.http.pace import MAX_BODY_SECONDS, MIN_BYTES_PER_SECOND, PERIOD_BYTES, Pace
from ingest_api.http.turns import BodyThreads
from shared.limits import MAX_BODY_BYTES

_JSON: Final = b"application/json"
_JSON_BY_SUFFIX: Final = re.compile(rb"application/[a-z0-9!#$&^_.+-]+\+json")
#: Size in bytes from which a body is checked in a thread; a hostile one of this size takes milliseconds.
_IN_THREAD_BYTES: Final = 131_072
#: Size in bytes from which it is checked in another process; a hostile one of this size takes some 20 ms.
_LARGE_BYTES: Final = 1_048_576
#: Times its size on the wire from which a body cost its client almost nothing; JSON shrinks to a tenth as a rule.
_CHEAP_TIMES: Final = 50


class BodyReader:
    """Reads bodies within the process's memory budget."""

    def __init__(
        self, memory: MemoryBudget, threads: BodyThreads, processes: BodyProcesses, *, idle_timeout: float
    ) -> None:
        """`idle_timeout`: maximum time without a byte of the body, in seconds."""
        self._memory = memory
        self._threads = threads
        self._processes = processes
        self._idle_timeout = idle_timeout

    def close(self) -> None:
        """End the large-body processes."""
        self._processes.close()

    def reserve(self, connector_id: int) -> Reservation:
        """Return a reservation that holds nothing yet."""
        return Reservation(self._memory, connector_id)

    async def read(
        self, context: RequestContext, receive: Receive, reservation: Reservation, check: Check
    ) -> tuple[Body, Findings]:
        """Return the body, decompressed if `check` keeps it, and what that found. It must be JSON, unless it is empty.

        Raises ApiError: unsupported_media_type, unsupported_encoding, body_too_large, body_timeout, incomplete_body,
        invalid_compression, overloaded, connector_overloaded, and what `check` raises.
        """
        reservation.claim(require_readable(context))
        received = context.received_body()
        if received is None:
            body = await _receive_all(context, receive, reservation, self._idle_timeout)
        else:  # nearly always, and without a timer, which would cost more than the rest of this
            body = received
            _count(body, context, reservation)
        size = context.received_bytes
        if size and context.header(b"content-type") is None:  # it came in chunks: its length was unknown
            raise _not_json(context)
        is_gzip = _is_gzip(context)
        if size <= _IN_THREAD_BYTES:
            small = inflate_small(body) if is_gzip else bytes(body)
            if small is not None:
                reservation.grow_to(size + len(small) if is_gzip else size)
                return small, check(small)
        is_large = is_gzip or size > _LARGE_BYTES
        examine = self._processes.examine if is_large else _examine_here
        return await self._threads.run(
            partial(examine, body, check, reservation, is_gzip=is_gzip),
            reservation.connector_id,
            is_large=is_large,
            has_left=context.client_left,
            was_cheap=lambda examined: examined[1].size > _CHEAP_TIMES * size,
        )


def _examine_here(
    body: Body,
    check: Check,
    _reservation: Reservation,
    *,
    is_gzip: bool,  # noqa: ARG001 - never compressed
) -> tuple[Body, Findings]:
    whole = bytes(body)
    return whole, check(whole)


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
        raise body_too_large(declared)
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
) -> Body:
    clock = asyncio.get_running_loop().time
    pace = Pace(clock(), idle_seconds=idle_timeout, declared=int(context.header(b"content-length") or 0))
    received = bytearray()
    try:
        async with asyncio.timeout_at(pace.deadline(clock())) as timeout:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(ErrorCode.INCOMPLETE_BODY)
                piece = message.get("body", b"")
                received += piece  # at once: all pieces of 30 MB would take 15 ms
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
    return received


def _count(chunk: Body, context: RequestContext, reservation: Reservation) -> None:
    context.received_bytes += len(chunk)
    if context.received_bytes > MAX_BODY_BYTES:
        raise body_too_large(context.received_bytes)
    reservation.grow_to(context.received_bytes)
