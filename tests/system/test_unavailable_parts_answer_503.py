"""An engine that is away, a full backlog and a full memory are a documented 503 on every route that they affect.

Bodies that stop arriving are here too: they need a process with a short timeout.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.body_cases import BODY_LIMIT
from tests.support.client import JSON, MB, Connector, batch, item, talk
from tests.support.processes import free_port, wait_until
from tests.support.raw_http import RawConnection, begin
from tests.support.route_check import RouteCheck, refuse_each
from tests.support.route_rows import ASKING, AUTHENTICATED, CONFIG, GOOD_CONFIGURATION, GOOD_ITEMS, HOOK, TAKING
from tests.support.stack import Stack
from tests.support.tcp_proxy import PostgresProxy, RedisProxy


def test_every_route_is_503_until_credentials_are_loaded(stack: Stack, check: RouteCheck) -> None:
    with stack.starting_api(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as api:
        wait_until("it answers", lambda: api.answers("/healthz") == 200)
        refuse_each(check, api.url, AUTHENTICATED, "not_ready", bucket_unknown=True)
        with RawConnection(api.url) as connection:
            answer = connection.send("GET", "/readyz")
    assert answer.status == 503
    assert answer.document["status"] == "unavailable"
    assert answer.headers["retry-after"] == "1"


def test_lost_engine_is_503_on_every_route_that_needs_it(workerless: Stack) -> None:
    connector = workerless.connector("sees the engines go")
    _, hook = workerless.hook(connector, "github", "--stream", "agents")
    with ExitStack() as contexts:
        redis = contexts.enter_context(RedisProxy(workerless.redis_url))
        postgres = contexts.enter_context(PostgresProxy(workerless.database_url))
        api = contexts.enter_context(workerless.api(REDIS_URL=redis.url, DATABASE_URL=postgres.url))
        with connector.connection(api.url) as connection:
            applied = connector.send(item("agent-1"))
            with workerless.worker():
                workerless.lanes_are_empty()
            assert connection.get(f"/api/requests/{applied}").json()["state"] == "applied"

            postgres.close()
            answer = connection.post("/api/ingest", content=GOOD_ITEMS, headers=JSON)
            assert answer.status_code == 202
            assert connection.get(f"/api/requests/{answer.json()['requestId']}").json()["state"] == "queued"
            check = RouteCheck(connector, connector, applied, hook)
            asking = [("PUT", CONFIG, GOOD_CONFIGURATION), *ASKING]
            refuse_each(check, api.url, asking, "database_unavailable")

            redis.close()
            every = [*AUTHENTICATED, ("POST", HOOK, b'{"id":7}')]
            refuse_each(check, api.url, every, "store_unavailable", bucket_unknown=True)
    with workerless.worker():
        workerless.lanes_are_empty()
    assert workerless.count("receipts", connector) == 2


def test_body_that_stops_arriving_is_408_and_one_that_breaks_off_is_logged(stack: Stack, check: RouteCheck) -> None:
    def stops(method: str, path: str) -> tuple[bytes, bytes]:
        return talk(api.url, _head(check.connector, method, path, 1000), b'{"half":')

    with stack.api(BODY_TIMEOUT_SECONDS=1) as api, ThreadPoolExecutor(len(TAKING)) as hands:
        answers = [hands.submit(stops, method, path) for method, path, _ in TAKING]
        begin(api.url, _head(check.connector, "POST", "/api/ingest", 1000) + b'{"half":').close()
        for answer in answers:
            head, body = answer.result()
            assert head.startswith(b"HTTP/1.1 408 "), head
            assert b"\r\nconnection: close" in head.lower()
            assert b"\r\nratelimit-limit: " in head.lower()
            document = json.loads(body)
            assert document["error"]["code"] == "body_timeout"
            assert f"x-request-id: {document['requestId']}".encode() in head.lower()
        wait_until("the body that broke off is logged", lambda: '"code":"incomplete_body"' in api.printed)
    assert stack.waiting() == 0


def _head(connector: Connector, method: str, path: str, length: int) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {connector.credential}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_process_without_memory_for_a_body_is_503(stack: Stack, check: RouteCheck) -> None:
    with stack.api(MAX_INFLIGHT_BYTES=64 * MB, BODY_TIMEOUT_SECONDS=60) as api, ExitStack() as contexts:
        # Bodies of two connectors that lack their last byte hold 60 MB.
        for connector in (check.connector, check.other):
            head = _head(connector, "POST", "/api/ingest", BODY_LIMIT)
            contexts.enter_context(begin(api.url, head + bytes(BODY_LIMIT - 1)))
        with check.connector.connection(api.url) as connection:
            wait_until(
                "there is no room left",
                lambda: connection.post("/api/ingest", content=b"x" * (5 * MB), headers=JSON).status_code == 503,
            )
        full = [(method, path, b"x" * (5 * MB)) for method, path, _ in TAKING]
        refuse_each(check, api.url, full, "overloaded", bucket_unknown=True)
        # Small bodies, and requests without one, still pass.
        with check.connector.connection(api.url) as connection:
            assert connection.post("/api/ingest", content=GOOD_ITEMS, headers=JSON).status_code == 202
            assert connection.get(CONFIG).status_code == 200


@pytest.mark.parametrize(
    ("setting", "code"),
    [("MAX_BACKLOG_BYTES", "backlog_full"), ("MAX_CONNECTOR_BACKLOG_BYTES", "connector_backlog_full")],
)
def test_full_backlog_is_503_on_every_route_that_appends(workerless: Stack, setting: str, code: str) -> None:
    connector, other = (workerless.connector(f"{code} {number}") for number in range(2))
    large = "x" * (MB // 3)
    heavy = [
        ("POST", "/api/ingest", batch(item("heavy", notes=large))),
        ("POST", "/api/ingest/log", json.dumps({"entries": [{"level": "info", "message": large}]}).encode()),
        ("POST", "/api/ingest/retain", json.dumps({"stream": "agents", "ids": [large[:500]] * 700}).encode()),
        ("POST", "/api/webhook/agents", json.dumps({"id": 1, "notes": large}).encode()),
    ]
    workerless.lanes_are_empty()
    with workerless.api(**{setting: MB}) as api:
        for _ in range(2):
            assert connector.post_to(api.url, heavy[0][2], JSON).status_code == 202

        refuse_each(RouteCheck(connector, other, ""), api.url, heavy, code)

        assert workerless.waiting() == 2
        # A small body still fits, and a heartbeat, of which nothing is stored; another connector has its own share.
        assert connector.post_to(api.url, GOOD_ITEMS, JSON).status_code == 202
        with connector.connection(api.url) as connection:
            answer = connection.post("/api/ingest/heartbeat", content=json.dumps({"notes": large}), headers=JSON)
            assert answer.status_code == 202
        if code == "connector_backlog_full":
            assert other.post_to(api.url, heavy[0][2], JSON).status_code == 202
        with connector.connection(api.url) as connection:
            assert connection.get(CONFIG).status_code == 200
        with workerless.worker():
            wait_until("there is room", lambda: connector.post_to(api.url, heavy[0][2], JSON).status_code == 202)
            workerless.lanes_are_empty()
