"""Reading a body: whatever comes, limits hold and the memory that was held is given back."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.context import BODY_AT_HAND, RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body import MemoryBudget, read_body
from shared.limits import MAX_BODY_BYTES, MB


def exchange(**headers: str) -> RequestContext:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def send(_message: Any) -> None:
        raise AssertionError("nothing is answered while a body is read")

    return RequestContext({"type": "http", "method": "POST", "headers": raw}, send)


def read(
    chunks: Iterable[bytes | None], *, budget: MemoryBudget | None = None, patience: float = 5, **headers: str
) -> bytes:
    """Reads a body that comes in `chunks`; None stands for a connection that ends there, no end for one that stops."""
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"} if chunk is None else {"type": "http.request", "body": chunk, "more_body": True}
        for chunk in chunks
    ]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    if patience > 1 and messages and messages[-1]["type"] == "http.request":
        messages[-1]["more_body"] = False
    budget = budget or MemoryBudget(256 * MB)
    with budget.reservation() as reservation:
        return asyncio.run(read_body(exchange(**headers), receive, reservation, patience=patience))


def code_of(chunks: Iterable[bytes | None], **options: Any) -> ErrorCode:
    budget = options.setdefault("budget", MemoryBudget(256 * MB))
    with pytest.raises(ApiError) as caught:
        read(chunks, **options)
    assert budget.used == 0, "a refused body holds no memory"
    return caught.value.code


@given(st.lists(st.binary(max_size=50), min_size=1))
def test_a_body_is_the_same_however_it_is_cut(chunks: list[bytes]) -> None:
    assert read(chunks) == b"".join(chunks)


@given(st.binary(max_size=5000), st.integers(0, 2))
def test_gzip_of_one_or_several_members_is_inflated(body: bytes, cut: int) -> None:
    middle = len(body) * cut // 2
    compressed = gzip.compress(body[:middle]) + gzip.compress(body[middle:])

    assert read([compressed], content_encoding="gzip") == body


def test_the_largest_body_passes_and_one_byte_more_does_not() -> None:
    largest = b"x" * MAX_BODY_BYTES

    assert len(read([largest])) == MAX_BODY_BYTES
    assert code_of([largest, b"x"]) is ErrorCode.BODY_TOO_LARGE
    assert code_of([], content_length=str(MAX_BODY_BYTES + 1)) is ErrorCode.BODY_TOO_LARGE


def test_a_bomb_is_refused_once_it_passes_the_limit() -> None:
    bomb = gzip.compress(bytes(200 * MB), compresslevel=1)

    assert len(bomb) < MB
    assert code_of([bomb], content_encoding="gzip") is ErrorCode.BODY_TOO_LARGE


def test_the_largest_inflated_body_passes() -> None:
    assert len(read([gzip.compress(bytes(MAX_BODY_BYTES), compresslevel=1)], content_encoding="gzip")) == MAX_BODY_BYTES


# Without the time of compression in it: the two halves of a run must give a test the same name.
_TEXT = gzip.compress(b"text", mtime=0)


@pytest.mark.parametrize("damaged", [b"not gzip", _TEXT[:-6], _TEXT + b"rest"])
def test_damaged_gzip_is_refused(damaged: bytes) -> None:
    assert code_of([damaged], content_encoding="gzip") is ErrorCode.INVALID_COMPRESSION


def test_another_encoding_is_refused_before_anything_is_read() -> None:
    assert code_of([], content_encoding="br") is ErrorCode.UNSUPPORTED_ENCODING


def test_a_body_that_stops_is_refused_after_a_while() -> None:
    assert code_of([b"{"], patience=0.05) is ErrorCode.BODY_TIMEOUT


def test_a_connection_that_ends_early_is_refused() -> None:
    assert code_of([b"{", None]) is ErrorCode.INCOMPLETE_BODY


def test_memory_beyond_the_setting_is_refused_by_what_came_and_by_what_is_announced() -> None:
    budget = MemoryBudget(10)

    assert code_of([b"12345", b"67890", b"1"], budget=budget) is ErrorCode.OVERLOADED
    assert code_of([], budget=budget, content_length="11") is ErrorCode.OVERLOADED
    assert read([b"1234567890"], budget=budget) == b"1234567890"


def test_gzip_of_very_many_members_is_refused_before_it_takes_long() -> None:
    member = gzip.compress(b"")

    assert read([member * 1000 + gzip.compress(b"text")], content_encoding="gzip") == b"text"
    assert code_of([member * 200_000], content_encoding="gzip") is ErrorCode.INVALID_COMPRESSION


def test_a_body_that_is_at_hand_is_taken_without_waiting_under_the_same_limits() -> None:
    async def receive() -> Any:
        raise AssertionError("nothing is waited for")

    def take(body: bytes, budget: MemoryBudget) -> bytes:
        waiting = exchange()
        waiting.scope["extensions"] = {BODY_AT_HAND: lambda: body}
        with budget.reservation() as reservation:
            taken = asyncio.run(read_body(waiting, receive, reservation, patience=5))
            assert budget.used == waiting.received_bytes == len(body)
        return taken

    budget = MemoryBudget(10)
    assert take(b"1234567890", budget) == b"1234567890"
    with pytest.raises(ApiError) as caught:
        take(b"12345678901", budget)
    assert (caught.value.code, budget.used) == (ErrorCode.OVERLOADED, 0)
