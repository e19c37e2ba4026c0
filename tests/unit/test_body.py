"""Reading a body: limits hold for all input, and the memory of a body is released."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.checks import Findings, SubmissionCheck
from ingest_api.context import RECEIVED_BODY, RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body import BodyReader, require_readable
from ingest_api.http.body_processes import BodyProcesses
from ingest_api.http.inflation import inflate
from ingest_api.http.memory import MemoryBudget
from ingest_api.http.turns import BodyThreads
from shared.entry import Meta
from shared.limits import MAX_BODY_BYTES, MB


def post(**headers: str) -> RequestContext:
    declared = {"content_type": "application/json", **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in declared.items()]

    async def send(_message: Any) -> None:
        raise AssertionError("no answer is sent while a body is read")

    return RequestContext({"type": "http", "method": "POST", "headers": raw}, send)


class AnySmall(SubmissionCheck, frozen=True):
    """Accepts any body that is not large; of a large one, large-body processes know the check of a webhook only."""

    def __call__(self, body: bytes) -> Findings:
        return Findings(len(body))


CHECK = AnySmall("webhook", Meta("webhook", "s", "id"), with_fingerprint=False)
PROCESSES = BodyProcesses()


@pytest.fixture(scope="module", autouse=True)
def _processes() -> Iterator[None]:
    yield
    PROCESSES.close()


def reader(budget: MemoryBudget, idle_timeout: float = 5) -> BodyReader:
    return BodyReader(budget, BodyThreads(), PROCESSES, idle_timeout=idle_timeout)


def webhook(size: int) -> bytes:
    return b'{"id":"a"%b}' % (b" " * (size - len('{"id":"a"}')))


def read(
    chunks: Iterable[bytes | None], *, budget: MemoryBudget | None = None, idle_timeout: float = 5, **headers: str
) -> bytes:
    """Read a body that arrives in `chunks`; None ends the connection, a short `idle_timeout` leaves the body open."""
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"} if chunk is None else {"type": "http.request", "body": chunk, "more_body": True}
        for chunk in chunks
    ]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    if idle_timeout > 1 and messages and messages[-1]["type"] == "http.request":
        messages[-1]["more_body"] = False
    bodies = reader(budget or MemoryBudget(256 * MB), idle_timeout)
    with bodies.reserve(1) as reservation:
        body, _ = asyncio.run(bodies.read(post(**headers), receive, reservation, CHECK))
    return bytes(body)


def code_of(chunks: Iterable[bytes | None], **options: Any) -> ErrorCode:
    budget = options.setdefault("budget", MemoryBudget(256 * MB))
    with pytest.raises(ApiError) as caught:
        read(chunks, **options)
    assert budget.used == 0, "a refused body holds no memory"
    return caught.value.code


@given(st.lists(st.binary(max_size=50), min_size=1))
def test_a_body_is_the_same_in_any_chunks(chunks: list[bytes]) -> None:
    assert read(chunks) == b"".join(chunks)


@given(st.binary(max_size=5000), st.integers(0, 2))
def test_gzip_of_one_or_several_members_is_inflated(body: bytes, cut: int) -> None:
    middle = len(body) * cut // 2
    compressed = gzip.compress(body[:middle]) + gzip.compress(body[middle:])

    assert inflate(compressed) == body


def test_the_largest_body_passes_and_one_byte_more_does_not() -> None:
    largest = webhook(MAX_BODY_BYTES)

    assert len(read([largest])) == MAX_BODY_BYTES
    assert code_of([largest, b"x"]) is ErrorCode.BODY_TOO_LARGE
    assert code_of([], content_length=str(MAX_BODY_BYTES + 1)) is ErrorCode.BODY_TOO_LARGE


def test_a_gzip_bomb_is_refused_once_it_exceeds_the_limit() -> None:
    bomb = gzip.compress(bytes(200 * MB), compresslevel=1)

    assert len(bomb) < MB
    assert code_of([bomb], content_encoding="gzip") is ErrorCode.BODY_TOO_LARGE


def test_the_largest_inflated_body_passes() -> None:
    largest = webhook(MAX_BODY_BYTES)

    assert read([gzip.compress(largest, compresslevel=1)], content_encoding="gzip") == largest


def test_an_inflated_body_that_does_not_fit_into_memory_is_refused_and_the_next_one_passes() -> None:
    budget = MemoryBudget(2 * MB)
    body = gzip.compress(webhook(3 * MB))

    assert code_of([body], budget=budget, content_encoding="gzip") is ErrorCode.OVERLOADED
    assert len(read([gzip.compress(webhook(MB))], budget=budget, content_encoding="gzip")) == MB


# Without a timestamp, since parallel test processes must derive the same test ids from it.
_TEXT = gzip.compress(b"text", mtime=0)


@pytest.mark.parametrize("damaged", [b"not gzip", _TEXT[:-6], _TEXT + b"rest"])
def test_damaged_gzip_is_refused(damaged: bytes) -> None:
    assert code_of([damaged], content_encoding="gzip") is ErrorCode.INVALID_COMPRESSION


@pytest.mark.parametrize(
    ("media_type", "by_suffix"),
    [
        ("application/cloudevents+json", True),
        ("Application/Vnd.a.v1+JSON ; charset=utf-8", True),
        *(
            (other, False)
            for other in ("application/+json", "application/json+xml", "text/a+json", "application/a b+json")
        ),
    ],
)
def test_a_type_with_the_suffix_of_json_is_taken_where_the_route_takes_it(media_type: str, *, by_suffix: bool) -> None:
    context = post(content_type=media_type, content_length="2")
    with pytest.raises(ApiError, match="unsupported_media_type") as caught:
        require_readable(context)
    assert "+json" not in caught.value.message
    context.takes_suffix = True
    if by_suffix:
        assert require_readable(context) == 2
        return
    with pytest.raises(ApiError) as caught:
        require_readable(context)
    assert "application/*+json" in caught.value.message


def test_an_unsupported_encoding_is_refused_before_the_body_is_read() -> None:
    assert code_of([], content_encoding="br") is ErrorCode.UNSUPPORTED_ENCODING


def test_a_body_that_stops_arriving_is_refused_after_the_timeout() -> None:
    assert code_of([b"{"], idle_timeout=0.05) is ErrorCode.BODY_TIMEOUT


def test_a_body_cut_off_by_the_end_of_the_connection_is_refused() -> None:
    assert code_of([b"{", None]) is ErrorCode.INCOMPLETE_BODY


def test_memory_beyond_the_setting_is_refused_by_received_and_by_declared_size() -> None:
    budget = MemoryBudget(10)

    assert code_of([b"12345", b"67890", b"1"], budget=budget) is ErrorCode.OVERLOADED
    assert code_of([], budget=budget, content_length="11") is ErrorCode.OVERLOADED
    assert read([b"1234567890"], budget=budget) == b"1234567890"


def test_gzip_of_thousands_of_members_is_refused_quickly() -> None:
    member = gzip.compress(b"")

    assert read([member * 1000 + gzip.compress(b'{"id":1}')], content_encoding="gzip") == b'{"id":1}'
    assert code_of([member * 200_000], content_encoding="gzip") is ErrorCode.INVALID_COMPRESSION


def test_a_body_that_arrived_with_its_headers_is_read_without_waiting_under_the_same_limits() -> None:
    async def receive() -> Any:
        raise AssertionError("the body has arrived already")

    def read_received(body: bytes, budget: MemoryBudget) -> bytes:
        context = post()
        context.scope["extensions"] = {RECEIVED_BODY: lambda: body}
        bodies = reader(budget)
        with bodies.reserve(1) as reservation:
            received, _ = asyncio.run(bodies.read(context, receive, reservation, CHECK))
            assert budget.used == context.received_bytes == len(body)
        return bytes(received)

    budget = MemoryBudget(10)
    assert read_received(b"1234567890", budget) == b"1234567890"
    with pytest.raises(ApiError) as caught:
        read_received(b"12345678901", budget)
    assert (caught.value.code, budget.used) == (ErrorCode.OVERLOADED, 0)
