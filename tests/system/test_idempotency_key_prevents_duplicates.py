"""A submission with an `Idempotency-Key` is enqueued once, however often, wherever and whenever it is repeated."""

from __future__ import annotations

import asyncio
import gzip
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.client import GZIP, JSON, Connector, assert_accepted, assert_refused, assert_well_formed, batch, item
from tests.support.processes import wait_until
from tests.support.stack import Api, Stack
from tests.support.tcp_proxy import RedisProxy

_REPEATS = 50
_BODY = batch(item("agent-1", state="Ready"))
_ROUTES = {
    "/api/ingest": _BODY,
    "/api/ingest/log": b'{"entries":[{"level":"info","message":"Poll completed"}]}',
    "/api/ingest/heartbeat": b"{}",
    "/api/webhook/agents": b'{"id":7}',
}


def keyed(key: str, headers: dict[str, str] = JSON) -> dict[str, str]:
    """Return the headers of a submission with this key."""
    return {**headers, "Idempotency-Key": key}


def is_replay(answer: httpx.Response) -> bool:
    """Return whether the answer repeats an earlier one."""
    replayed = answer.headers.get("Idempotent-Replayed")
    assert replayed in (None, "true")
    return replayed is not None


def entries_of(stack: Stack, connector: Connector) -> int:
    """Count the entries of a connector in all lanes."""
    lanes: Any = [stack.redis.xrange(stream) for stream in stack.redis.scan_iter("{lane-*}:stream")]
    return sum(fields[b"c"] == b"%d" % connector.id for entries in lanes for _, fields in entries)


@pytest.fixture(scope="module")
def emptied(workerless: Stack) -> Iterator[None]:
    """Apply in the end what tests leave in the lanes."""
    yield
    with workerless.worker():
        workerless.lanes_are_empty()


def assert_applied_once(stack: Stack, connector: Connector) -> None:
    """Apply everything, and check that the connector has one receipt."""
    with stack.worker():
        stack.lanes_are_empty()
    assert stack.count("receipts", connector) == 1


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("path", _ROUTES)
def test_50_concurrent_requests_with_one_key_add_one_entry_and_get_one_id(
    workerless: Stack, crowd: list[Connector], path: str
) -> None:
    connector = crowd[list(_ROUTES).index(path)]
    key = f"concurrent {path}".replace(" ", "-")

    async def repeat(urls: list[str]) -> list[httpx.Response]:
        async with connector.connect_async(urls[0]) as one, connector.connect_async(urls[1]) as other:
            return await asyncio.gather(
                *(
                    (one, other)[number % 2].post(path, content=_ROUTES[path], headers=keyed(key))
                    for number in range(_REPEATS)
                )
            )

    with workerless.api() as api:
        before = entries_of(workerless, connector)
        answers = asyncio.run(repeat([workerless.url, api.url]))
        after = entries_of(workerless, connector)

    assert [answer.status_code for answer in answers] == [202] * _REPEATS
    assert len({assert_well_formed(answer) for answer in answers}) == 1
    assert len({answer.content for answer in answers}) == 1
    assert sum(map(is_replay, answers)) == _REPEATS - 1
    assert after - before == 1


def test_repeat_gets_the_first_answer_from_every_process_and_base(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    first = connector.post(_BODY, headers=keyed("k"))
    assert_accepted(first)
    assert not is_replay(first)

    for url in (stack.url, neighbour.url):
        for path in ("/api/ingest", "/datapool/api/ingest"):
            for body, headers in ((_BODY, JSON), (gzip.compress(_BODY), GZIP)):
                with connector.connection(url) as connection:
                    repeat = connection.post(path, content=body, headers=keyed("k", headers))
                assert is_replay(repeat)
                assert (repeat.status_code, repeat.content) == (202, first.content)

    wait_until("it is applied", lambda: stack.fields(connector, "agent-1") is not None)
    stack.lanes_are_empty()
    assert is_replay(connector.post(_BODY, headers=keyed("k"))), "after it was applied"
    assert stack.count("receipts", connector) == 1


def test_key_with_another_submission_is_refused(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    first = connector.post(_BODY, headers=keyed("k"))

    others = [
        connector.post(batch(item("agent-1", state="Away")), headers=keyed("k")),
        connector.post(_BODY + b" ", headers=keyed("k")),
        *(connector.post(_ROUTES[path], path=path, headers=keyed("k")) for path in list(_ROUTES)[1:]),
    ]

    for other in others:
        assert_refused(other, 409, "idempotency_key_reused")
        assert not is_replay(other)
    again = connector.post(_BODY, headers=keyed("k"))
    assert (is_replay(again), again.content) == (True, first.content)
    stack.lanes_are_empty()
    assert stack.count("receipts", connector) == 1


def test_stream_and_id_field_of_a_webhook_are_part_of_the_submission(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    body = b'{"id":7,"key":8}'
    assert connector.post(body, path="/api/webhook/agents", headers=keyed("k")).status_code == 202

    for path in ("/api/webhook/queues", "/api/webhook/agents?idField=key"):
        assert_refused(connector.post(body, path=path, headers=keyed("k")), 409, "idempotency_key_reused")


@pytest.mark.usefixtures("emptied")
def test_connectors_on_one_lane_do_not_share_keys(crowd: list[Connector]) -> None:
    one, other = crowd[:2]

    answers = [connector.post(_BODY, headers=keyed("of-both")) for connector in (one, other)]

    assert not any(map(is_replay, answers))
    assert len({assert_accepted(answer) for answer in answers}) == 2
    # Two different submissions do not conflict either.
    assert_accepted(one.post(_BODY, headers=keyed("of-one")))
    assert_accepted(other.post(batch(item("agent-2")), headers=keyed("of-one")))


def test_key_is_kept_across_a_rotation(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    first = connector.post(_BODY, headers=keyed("k"))

    repeat = stack.rotate(connector).post(_BODY, headers=keyed("k"))

    assert is_replay(repeat)
    assert repeat.content == first.content
    stack.lanes_are_empty()
    assert stack.count("receipts", connector) == 1


def test_refused_submission_does_not_use_up_its_key(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    assert_refused(connector.post(b"[]", headers=keyed("k")), 409, "wrong_type", "$")

    answer = connector.post(_BODY, headers=keyed("k"))

    assert_accepted(answer)
    assert not is_replay(answer)


@pytest.mark.parametrize("kill", [signal.SIGKILL, None], ids=["the API is killed", "the connection to Redis is lost"])
def test_repeat_after_a_lost_answer_adds_no_entry(
    workerless: Stack, new_connector: Callable[..., Connector], kill: signal.Signals | None
) -> None:
    connector = new_connector(workerless)
    with (
        RedisProxy(workerless.redis_url) as redis,
        workerless.api(REDIS_URL=redis.url) as api,
        ThreadPoolExecutor(1) as other,
    ):
        # A refused request first, so that the process knows the connector and only the append is left to fail.
        assert_refused(connector.post_to(api.url, b"[]", JSON), 409, "wrong_type", "$")
        redis.drops_replies = True
        unanswered = other.submit(connector.post_to, api.url, _BODY, keyed("k"))
        wait_until("it is appended", lambda: entries_of(workerless, connector) == 1)
        if kill:
            api.send(kill)
            with pytest.raises(httpx.TransportError):
                unanswered.result()
        else:
            redis.close()
            assert_refused(unanswered.result(), 503, "store_unavailable")

    repeats = [connector.post(_BODY, headers=keyed("k")) for _ in range(2)]

    assert all(map(is_replay, repeats))
    assert len({assert_accepted(repeat) for repeat in repeats}) == 1
    assert entries_of(workerless, connector) == 1
    assert_applied_once(workerless, connector)


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "tab\there", "é"])
@pytest.mark.parametrize("path", _ROUTES)
def test_malformed_key_is_refused(stack: Stack, malformed: Connector, path: str, key: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode())]
    with malformed.connection() as connection:
        answer = connection.post(path, content=_ROUTES[path], headers=headers)

    assert_refused(answer, 409, "invalid_idempotency_key")
    assert stack.count("receipts", malformed) == 0


@pytest.mark.parametrize("key", ["k", "k" * 255, "".join(map(chr, range(0x21, 0x7F)))])
def test_valid_key_is_accepted(stack: Stack, new_connector: Callable[..., Connector], key: str) -> None:
    connector = new_connector(stack)

    assert [is_replay(connector.post(_BODY, headers=keyed(key))) for _ in range(2)] == [False, True]


@pytest.fixture(scope="module")
def malformed(stack: Stack) -> Connector:
    """A connector that sends only malformed keys."""
    return stack.connector("sends malformed keys")
