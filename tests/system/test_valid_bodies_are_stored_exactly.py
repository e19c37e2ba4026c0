"""Valid bodies are accepted up to the largest, and stored as they were sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.body_cases import EXACT, LARGEST, example
from tests.support.client import GZIP, JSON, MB, Body, Connector, assert_accepted, assert_refused, batch, item, talk
from tests.support.processes import wait_until
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def connector(stack: Stack) -> Connector:
    """A connector of this file."""
    return stack.connector("careful")


@pytest.mark.parametrize("make", [pytest.param(make, id=what) for what, make in LARGEST.items()])
def test_largest_allowed_body_is_stored(stack: Stack, connector: Connector, make: Callable[[], Body]) -> None:
    receipts = stack.count("receipts", connector)

    assert_accepted(connector.post(make()))

    wait_until("it is applied", lambda: stack.count("receipts", connector) == receipts + 1)
    assert stack.count("dead_letters", connector) == 0


def test_documented_example_is_stored_as_sent(stack: Stack, connector: Connector) -> None:
    sent = example()

    assert_accepted(connector.post(json.dumps(sent)))

    query = "SELECT id, name, fields, tags FROM items WHERE connector_id = %s AND id = 'agent-1001'"
    wait_until("it is stored", lambda: stack.rows(query, connector.id) == sent["items"])


@pytest.mark.parametrize("number", EXACT)
def test_numbers_keep_every_digit(stack: Stack, connector: Connector, number: str) -> None:
    body = '{"stream":"agents","items":[{"id":"number %s","fields":{"n":%s}}]}' % (number, number)  # noqa: UP031 - braces

    assert_accepted(connector.post(body))

    query = "SELECT (fields->'n')::numeric = %s::numeric FROM items WHERE connector_id = %s AND id = %s"
    wait_until("it is stored", lambda: stack.value(query, number, connector.id, f"number {number}"))


def test_primitives_keep_their_types(stack: Stack, connector: Connector) -> None:
    fields = {"text": "1", "number": 1, "true": True, "null": None, "empty": "", "é\n😀": '\u2028\\"\x7f'}

    connector.send({"id": "primitives", "name": None, "fields": fields, "tags": fields})

    query = "SELECT name, fields, tags FROM items WHERE connector_id = %s AND id = 'primitives'"
    expected = [{"name": None, "fields": fields, "tags": fields}]
    wait_until("it is stored", lambda: stack.rows(query, connector.id) == expected)


def test_last_item_of_an_id_in_a_batch_replaces_the_whole_former_state(stack: Stack, connector: Connector) -> None:
    connector.send({"id": "twice", "name": "Alice", "fields": {"old": 1}, "tags": {"old": 1}})

    connector.send(item("twice", turn=1), item("twice", turn=2))

    query = "SELECT name, fields, tags FROM items WHERE connector_id = %s AND id = 'twice'"
    expected = [{"name": None, "fields": {"turn": 2}, "tags": {}}]
    wait_until("it is stored", lambda: stack.rows(query, connector.id) == expected)


def test_batch_without_items_is_accepted(connector: Connector) -> None:
    assert_accepted(connector.post(batch()), items=0)


def test_gzip_is_accepted(stack: Stack, connector: Connector) -> None:
    one, other = batch(item("packed", size=100))[:20], batch(item("packed", size=100))[20:]

    assert_accepted(connector.post(gzip.compress(one) + gzip.compress(other), headers=GZIP))

    wait_until("it is stored", lambda: stack.fields(connector, "packed") == {"size": "100"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {**JSON, "Content-Encoding": "identity"},
        {**JSON, "Content-Encoding": "GZIP"},
    ],
    ids=str,
)
def test_other_spelling_of_a_header_is_accepted(connector: Connector, headers: dict[str, str]) -> None:
    body = batch(item("spelling"))

    assert_accepted(connector.post(gzip.compress(body) if "GZIP" in headers.values() else body, headers=headers))


def test_body_that_stops_arriving_is_408_and_one_that_trickles_is_accepted(stack: Stack, connector: Connector) -> None:
    body = batch(item("slow"))
    pieces = [body[start : start + 10] for start in range(0, len(body), 10)]
    with stack.api(BODY_TIMEOUT_SECONDS=2) as api, ThreadPoolExecutor(1) as executor:
        # Longer than the timeout in all, each pause far shorter.
        trickles = executor.submit(talk, api.url, connector.head(len(body)), *pieces, pause=3 / len(pieces))
        head, answer = talk(api.url, connector.head(len(body)), pieces[0])
        assert head.startswith(b"HTTP/1.1 408 ")
        refused = json.loads(answer)
        assert refused["error"]["code"] == "body_timeout"
        assert refused["requestId"].encode() in head
        assert trickles.result()[0].startswith(b"HTTP/1.1 202 ")


def test_many_large_bodies_at_once_are_accepted_or_503(stack: Stack, connector: Connector) -> None:
    body = batch(item("heavy", notes="x" * (4 * MB)))
    with stack.api(MAX_INFLIGHT_BYTES=64 * MB) as api, ThreadPoolExecutor(32) as senders:
        answers = list(senders.map(lambda _: connector.post_to(api.url, body, JSON), range(48)))
        for answer in answers:
            if answer.status_code == 202:
                assert_accepted(answer)
            else:
                assert_refused(answer, 503, answer.json()["error"]["code"])
                assert answer.json()["error"]["code"] in ("overloaded", "connector_overloaded")
                assert int(answer.headers["Retry-After"]) >= 1
        assert_accepted(connector.post_to(api.url, body, JSON))
    stack.lanes_are_empty()
