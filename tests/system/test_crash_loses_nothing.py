"""A crash of a handler is a 500 and loses nothing. Redis and Postgres hold values that the product never writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.support.client import JSON, Connector, assert_accepted, assert_refused, assert_well_formed, batch, item
from tests.support.processes import wait_until
from tests.support.stack import Stack

_BODY = batch(item("agent-1", state="Ready"))


def test_crash_is_a_500_logged_with_its_id_and_traceback_and_loses_nothing(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.api() as api, connector.connection(api.url) as connection:
        before = assert_accepted(connection.post("/api/ingest", content=_BODY, headers=JSON))
        with workerless.worker():
            workerless.lanes_are_empty()
        rename = "UPDATE receipts SET kind = %s WHERE connector_id = %s RETURNING kind"
        workerless.rows(rename, "unknown", connector.id)

        crashed = connection.get(f"/api/requests/{before}")

        assert_refused(crashed, 500, "internal_error")
        assert "Traceback" not in crashed.text
        assert "msgspec" not in crashed.text
        posted, *lines = wait_until("the error is logged", lambda: _lines(api.printed, assert_well_formed(crashed)))
        assert (posted["status"], len(lines)) == (202, 2)
        (error,) = (line for line in lines if "exception" in line)
        assert error["level"] == "error"
        assert any("ingest_api" in frame["filename"] for frame in error["exception"][0]["frames"])
        # The log holds neither what was sent nor the credential.
        assert connector.credential not in api.printed
        assert "Ready" not in api.printed
        (request,) = (line for line in lines if line is not error)
        assert (request["status"], request["code"]) == (500, "internal_error")

        workerless.rows(rename, "items", connector.id)
        after = assert_accepted(connection.post("/api/ingest", content=_BODY, headers=JSON))
        with workerless.worker():
            workerless.lanes_are_empty()
        for request_id in (before, after):
            assert connection.get(f"/api/requests/{request_id}").json()["state"] == "applied"


def _lines(printed: str, request_id: str) -> list[dict[str, Any]]:
    """Return the log lines with this id, once all three are there."""
    found = [json.loads(line) for line in printed.splitlines() if line.startswith("{") and request_id in line]
    return found if len(found) > 2 else []


def test_invalid_reply_of_redis_leaves_no_request_unanswered(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector, other = new_connector(workerless), new_connector(workerless)
    lane = workerless.value("SELECT lane FROM connectors WHERE connector_id = %s", connector.id)
    credential = f"{{lane-{lane:02d}}}:credential:{connector.credential.split('_')[1]}"
    try:
        with workerless.api() as api, ThreadPoolExecutor(2) as executor:

            def answers() -> list[httpx.Response] | None:
                # Once a minute the sweeper corrects what differs from Postgres, perhaps at this moment.
                assert workerless.redis.hset(credential, "connector", "no number") == 0
                results = [*executor.map(lambda one: one.post_to(api.url, _BODY, JSON), (connector, other))]
                return None if results[0].status_code == httpx.codes.ACCEPTED else results

            refused, accepted = wait_until("Redis gives an invalid reply", answers)
            assert_accepted(other.post_to(api.url, _BODY, JSON))
    finally:
        workerless.redis.hset(credential, "connector", str(connector.id))

    assert refused.status_code in (500, 503), refused.text
    assert_refused(refused, refused.status_code, refused.json()["error"]["code"])
    assert accepted.status_code in (202, 503), accepted.text
    with workerless.worker():
        workerless.lanes_are_empty()
