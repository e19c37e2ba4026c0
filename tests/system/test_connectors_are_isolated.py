"""Two connectors can neither see nor guess each other's requests, configurations, logs or items.

Both are on one lane, where they are closest: their submissions are in one stream, with ids of one sequence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.client import JSON, Connector, assert_accepted, assert_refused, assert_well_formed, item
from tests.support.request_ids import lane_of, neighbours_of
from tests.support.stack import Stack

_NEVER_ACCEPTED = "req_00000000000000"
_ROUTES = {
    "/api/ingest": '{"stream":"shared","items":[{"id":"same","name":"%s","fields":{"of":"%s"}}]}',
    "/api/ingest/log": '{"entries":[{"level":"info","message":"%s","context":{"of":"%s"}}]}',
    "/api/ingest/heartbeat": '{"%s":"%s"}',
    "/api/webhook/hooked": '{"id":"same","name":"%s","of":"%s"}',
}


@pytest.fixture(scope="module")
def pair(workerless: Stack, crowd: list[Connector]) -> Iterator[tuple[Connector, Connector]]:
    """Two connectors of one lane."""
    yield crowd[0], crowd[1]
    with workerless.worker():
        workerless.lanes_are_empty()


def submit_everything(connector: Connector, called: str) -> list[str]:
    """Submit to each route a body that names its sender; return the request ids."""
    return [connector.post(body % (called, called), path=path).json()["requestId"] for path, body in _ROUTES.items()]


def get(connector: Connector, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    with connector.connection() as connection:
        return connection.get(path, headers=headers)


def without_its_own_id(answer: httpx.Response) -> tuple[int, str, list[tuple[str, str]]]:
    """Return an answer without its id, its date and its rate limit, which always differ."""
    own = assert_well_formed(answer)
    varying = {"x-request-id", "date", "ratelimit-remaining", "ratelimit-reset"}
    headers = [(name, value) for name, value in answer.headers.items() if name not in varying]
    return answer.status_code, answer.text.replace(own, "…"), headers


def test_request_of_another_connector_looks_like_an_unknown_one(
    workerless: Stack, pair: tuple[Connector, Connector]
) -> None:
    theirs, ours = (
        submit_everything(connector, called) for connector, called in zip(pair, ("one", "other"), strict=True)
    )
    assert len({lane_of(request_id) for request_id in theirs + ours}) == 1
    unknown = without_its_own_id(get(pair[0], f"/api/requests/{_NEVER_ACCEPTED}"))
    assert unknown[0] == 404

    def assert_unknown_to_the_other(state: str) -> None:
        for asking, mine, not_mine in ((pair[0], theirs, ours), (pair[1], ours, theirs)):
            for request_id in mine:
                assert get(asking, f"/api/requests/{request_id}").json()["state"] == state
            for request_id in not_mine:
                for wait in ("", "?wait=30"):
                    assert without_its_own_id(get(asking, f"/api/requests/{request_id}{wait}")) == unknown

    assert_unknown_to_the_other("queued")
    with workerless.worker():
        workerless.lanes_are_empty()
    assert_unknown_to_the_other("applied")


def test_neighbouring_request_ids_are_unknown(pair: tuple[Connector, Connector]) -> None:
    one, other = pair
    mine, theirs = one.send(item("mine")), other.send(item("theirs"))

    for guess in {*neighbours_of(mine), *neighbours_of(theirs), theirs} - {mine}:
        assert_refused(get(one, f"/api/requests/{guess}"), 404, "unknown_request")


def test_credential_of_another_lane_finds_no_request(crowd: list[Connector]) -> None:
    first, last = crowd[0], crowd[-1]
    request_id = first.send(item("mine"))
    assert lane_of(last.send(item("theirs"))) != lane_of(request_id)

    assert_refused(get(last, f"/api/requests/{request_id}"), 404, "unknown_request")


def test_configuration_belongs_to_its_connector(pair: tuple[Connector, Connector]) -> None:
    one, other = pair
    before = get(other, "/api/connector/config")
    with one.connection() as connection:
        published = connection.put("/api/connector/config", content=_configuration("one"), headers=JSON)
    assert published.json()["configuration"] == '{"of":"one"}'

    after = get(other, "/api/connector/config")

    assert after.json() | {"requestId": ""} == before.json() | {"requestId": ""}
    assert after.json()["connectorId"] == other.id
    # The tags differ, even if both have published the same configuration.
    with other.connection() as connection:
        connection.put("/api/connector/config", content=_configuration("one"), headers=JSON)
    again = get(other, "/api/connector/config", {"If-None-Match": published.headers["ETag"]})
    assert again.status_code == 200
    assert again.json()["connectorId"] == other.id


def _configuration(called: str) -> bytes:
    return json.dumps({"configuration": f'{{"of":"{called}"}}'}).encode()


def test_items_and_logs_of_the_same_names_stay_apart(workerless: Stack, pair: tuple[Connector, Connector]) -> None:
    with workerless.worker():
        for connector, called in zip(pair, ("one", "other"), strict=True):
            submit_everything(connector, called)
        workerless.lanes_are_empty()

    for connector, called in zip(pair, ("one", "other"), strict=True):
        assert _senders(workerless.ingestctl("items", str(connector.id), "shared")) == {called}
        query = "SELECT DISTINCT name AS of FROM items WHERE connector_id = %s AND id = 'same'"
        assert workerless.rows(query, connector.id) == [{"of": called}]
        query = "SELECT DISTINCT message AS of FROM connector_logs WHERE connector_id = %s AND context ? 'of'"
        assert workerless.rows(query, connector.id) == [{"of": called}]


def _senders(listed: Any) -> set[str]:
    """Return the senders of the items that `ingestctl items` lists."""
    items = listed["items"]
    assert items
    return {item_["fields"]["of"] for item_ in items}


def test_body_that_names_another_connector_does_not_change_it(
    workerless: Stack, pair: tuple[Connector, Connector]
) -> None:
    one, other = pair
    body = json.dumps({"id": "forged", "connectorId": other.id, "connector_id": other.id}).encode()
    assert_accepted(one.post(body, path="/api/webhook/forged", headers={**JSON, "X-Connector-Id": str(other.id)}))
    answer = one.post(json.dumps({"stream": "s", "items": [], "connectorId": other.id}))
    assert_refused(answer, 409, "unknown_property", "$.connectorId")

    with workerless.worker():
        workerless.lanes_are_empty()

    rows = workerless.rows("SELECT connector_id FROM items WHERE stream = 'forged'")
    assert rows == [{"connector_id": one.id}]
