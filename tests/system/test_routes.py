"""Every route with every answer: status, code, headers and body, at both bases, through two API processes.

Refusals that need a fault around the process (an engine that is away, a body that never comes, no memory left) have
tests of their own below the table. The last test sees to it that no code of the README is left out.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.system.bodies import BODY_LIMIT
from tests.system.client import JSON, MB, Connector, batch, item, talk
from tests.system.gate import gate
from tests.system.processes import ROOT, free_port, wait_until
from tests.system.raw import Answer, Line, begin
from tests.system.redis_wire import wire
from tests.system.route_table import (
    ASKING,
    AUTHENTICATED,
    CONFIG,
    GOOD_CONFIGURATION,
    GOOD_ITEMS,
    RATE_LIMIT,
    REQUEST_ID,
    STATUS,
    SUBMISSIONS,
    TABLE,
    TAKING,
    Row,
)
from tests.system.stack import Api, Stack


@dataclass(frozen=True)
class Scene:
    """What the table's placeholders stand for."""

    connector: Connector
    other: Connector
    request_id: str

    def ask(self, line: Line, base: str, row: Row) -> Answer:
        """Sends a row's request."""
        key_id = self.connector.credential.split("_")[1]
        wrong = f"ik_{key_id}_{self.other.credential.split('_')[2]}"
        headers: dict[str, str | bytes] = dict(self.connector.bearer) if row.authorized else {}
        for name, value in row.headers.items():
            text = value if isinstance(value, bytes) else value.encode()
            text = text.replace(b"CREDENTIAL", self.connector.credential.encode()).replace(b"WRONG", wrong.encode())
            if b"ETAG" in text:
                told = line.ask("GET", base + CONFIG, headers=self.connector.bearer)
                text = text.replace(b"ETAG", told.headers["etag"].encode())
            headers[name] = text
        path = row.path if row.path == "*" else base + row.path.replace("REQUEST_ID", self.request_id)
        return line.ask(row.method, path, body=row.body, headers=headers, declared=row.declared)

    def check(self, row: Row, answer: Answer) -> None:
        """All of it is as the row says."""
        assert answer.status == row.status, answer
        _check_headers(row, answer)
        if row.method == "HEAD" or row.status == 304:
            assert answer.body == b""
            return
        told = answer.told
        request_id = told.pop(row.id_as)
        assert request_id == answer.headers["x-request-id"]
        assert (request_id == self.request_id) == (row.path.startswith(STATUS) and row.status == 200)
        if row.code is not None:
            _check_refusal(row, told)
            return
        expected = {name: self.connector.id if value == "CONNECTOR_ID" else value for name, value in row.told.items()}
        assert told.keys() == expected.keys()
        for name, value in expected.items():
            right = value in (told[name], ...) or (isinstance(value, str) and re.fullmatch(value, told[name]))
            assert right, (name, told[name])


def _check_headers(row: Row, answer: Answer) -> None:
    expected = {"x-request-id": REQUEST_ID.pattern, "date": ".+ GMT", **row.answered}
    if row.status != 304:
        expected |= {"content-type": "application/json", "content-length": r"[1-9]\d*"}
    if row.authorized and not (row.bucket_unknown and "ratelimit-limit" not in answer.headers):
        expected |= RATE_LIMIT
    if row.status == 401:
        expected["www-authenticate"] = "Bearer"
    if row.status in (429, 503):
        expected["retry-after"] = r"[1-9]\d*"
    assert answer.headers.keys() == expected.keys(), answer.headers
    for name, pattern in expected.items():
        assert re.fullmatch(pattern, answer.headers[name]), (name, answer.headers[name])
    if answer.body:
        assert int(answer.headers["content-length"]) == len(answer.body)


def _check_refusal(row: Row, told: dict[str, Any]) -> None:
    error = told["error"]
    assert told == {"status": "error", "error": error}
    assert error["code"] == row.code
    assert error.get("path") == row.at
    assert error.keys() <= {"code", "message", "path", "limit", "observed"}
    assert re.fullmatch(r"[^\n]+[.]", error["message"])
    assert not re.search(r"Traceback|SELECT|psycopg|ik_[0-9a-f]{12}", error["message"])


@pytest.fixture(scope="module")
def scene(stack: Stack) -> Scene:
    """A connector with one submission that is applied, one key that is used, and a configuration."""
    connector = stack.connector("knows every route")
    request_id = connector.send(item("agent-1"))
    for path, body in SUBMISSIONS.items():
        connector.post(body, path=path, headers={**JSON, "Idempotency-Key": f"used-for-{path}"})
    with connector.connection() as connection:
        assert connection.get(f"/api/requests/{request_id}?wait=30").json()["state"] == "applied"
        connection.put(CONFIG, content=GOOD_CONFIGURATION, headers=JSON)
    return Scene(connector, stack.connector("knows nothing"), request_id)


@pytest.mark.parametrize("base", ["", "/datapool"], ids=["at the root", "under datapool"])
@pytest.mark.parametrize("through", ["one process", "another"])
def test_every_route_answers_as_the_table_says(
    stack: Stack, neighbour: Api, scene: Scene, base: str, through: str
) -> None:
    url = stack.url if through == "one process" else neighbour.url
    # The base within the base is no route; the base at the root is one.
    rows = [row for row in TABLE if base or not row.path.startswith("/datapool/")]
    wrong = []
    with Line(url) as line:
        for row in rows:
            try:
                scene.check(row, scene.ask(line, base, row))
            except AssertionError as fault:
                wrong.append(f"{row}\n{fault}")
    assert not wrong, f"{len(wrong)} of {len(rows)} rows:\n" + "\n\n".join(wrong)
    assert len(rows) > 200


def test_refused_submissions_left_nothing_behind(stack: Stack, scene: Scene) -> None:
    stack.lanes_are_empty()
    streams = stack.rows("SELECT DISTINCT stream, id FROM items WHERE connector_id = %s", scene.connector.id)
    assert {(row["stream"], row["id"]) for row in streams} == {
        ("agents", "agent-1"),
        ("agents", "agent-2"),
        ("agents", "7"),
    }
    query = "SELECT DISTINCT level, message FROM connector_logs WHERE connector_id = %s"
    logged = stack.rows(query, scene.connector.id)
    assert logged == [{"level": "info", "message": "Poll completed"}]
    assert stack.count("dead_letters", scene.connector) == 0
    assert stack.count("receipts", scene.other) == 0


def refuse_each(
    scene: Scene, url: str, refused: list[tuple[str, str, bytes]], code: str, *, bucket_unknown: bool = False
) -> None:
    """Each of these requests is put off with this code, at both bases."""

    def refuse(base: str, method: str, path: str, body: bytes) -> None:
        row = Row(code, method, path, 503, code, body=body, bucket_unknown=bucket_unknown)
        with Line(url) as line:
            answer = scene.ask(line, base, row)
        try:
            scene.check(row, answer)
        except AssertionError as fault:
            raise AssertionError(f"{base} {row}\n{fault}") from None

    # At once, since each may take as long as somebody waits for an engine.
    with ThreadPoolExecutor(len(refused)) as hands:
        for done in [hands.submit(refuse, base, *one) for base in ("", "/datapool") for one in refused]:
            done.result()


def test_exhausted_bucket_is_429_on_every_route_of_its_surface(stack: Stack, neighbour: Api) -> None:
    connector = stack.connector("has one token", rate=0.01, burst=1)
    request_id = connector.send(item("agent-1"))

    def limited(method: str, path: str, body: bytes) -> None:
        with Line(neighbour.url) as line:
            answer = line.ask(method, path, body=body, headers={**connector.bearer, **JSON})
        assert answer.status == 429, (path, answer)
        assert answer.told["error"]["code"] == "rate_limited"
        assert answer.headers["x-request-id"] == answer.told["requestId"]
        assert 1 < int(answer.headers["retry-after"]) <= 100
        told = {name: value for name, value in answer.headers.items() if name.startswith("ratelimit")}
        assert told == {"ratelimit-limit": "1", "ratelimit-remaining": "0", "ratelimit-reset": "100"}

    for path, body in SUBMISSIONS.items():
        limited("POST", path, body)
    # Configuration and status share another bucket, which is still full.
    with connector.connection() as connection:
        assert connection.get(CONFIG).status_code == 200
    for method, path, body in [*ASKING, ("PUT", CONFIG, GOOD_CONFIGURATION)]:
        limited(method, path.replace("REQUEST_ID", request_id), body)


def test_nothing_is_taken_or_told_before_the_credentials_are_loaded(stack: Stack, scene: Scene) -> None:
    with stack.starting_api(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as api:
        wait_until("it answers", lambda: api.answers("/healthz") == 200)
        refuse_each(scene, api.url, AUTHENTICATED, "not_ready", bucket_unknown=True)
        with Line(api.url) as line:
            answer = line.ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.told["status"] == "unavailable"
    assert answer.headers["retry-after"] == "1"


def test_engines_that_go_away_are_503_on_every_route_that_needs_them(workerless: Stack) -> None:
    connector = workerless.connector("sees the engines go")
    with ExitStack() as contexts:
        redis = contexts.enter_context(wire(workerless.redis_url))
        postgres = contexts.enter_context(gate(workerless.database_url))
        api = contexts.enter_context(workerless.api(REDIS_URL=redis.url, DATABASE_URL=postgres.url))
        with connector.connection(api.url) as connection:
            applied = connector.send(item("agent-1"))
            with workerless.worker():
                workerless.lanes_are_empty()
            assert connection.get(f"/api/requests/{applied}").json()["state"] == "applied"

            postgres.shut()
            told = connection.post("/api/ingest", content=GOOD_ITEMS, headers=JSON)
            assert told.status_code == 202
            assert connection.get(f"/api/requests/{told.json()['requestId']}").json()["state"] == "queued"
            scene = Scene(connector, connector, applied)
            asking = [("PUT", CONFIG, GOOD_CONFIGURATION), *ASKING]
            refuse_each(scene, api.url, asking, "database_unavailable")

            redis.cut()
            refuse_each(scene, api.url, AUTHENTICATED, "store_unavailable", bucket_unknown=True)
    with workerless.worker():
        workerless.lanes_are_empty()
    assert workerless.count("receipts", connector) == 2


def test_body_that_stops_arriving_is_408_and_one_that_breaks_off_is_told_to_the_log(stack: Stack, scene: Scene) -> None:
    def stops(method: str, path: str) -> tuple[bytes, bytes]:
        return talk(api.url, _head(scene.connector, method, path, 1000), b'{"half":')

    with stack.api(BODY_TIMEOUT_SECONDS=1) as api, ThreadPoolExecutor(len(TAKING)) as hands:
        answers = [hands.submit(stops, method, path) for method, path, _ in TAKING]
        begin(api.url, _head(scene.connector, "POST", "/api/ingest", 1000) + b'{"half":').close()
        for answer in answers:
            head, body = answer.result()
            assert head.startswith(b"HTTP/1.1 408 "), head
            assert b"\r\nconnection: close" in head.lower()
            assert b"\r\nratelimit-limit: " in head.lower()
            told = json.loads(body)
            assert told["error"]["code"] == "body_timeout"
            assert f"x-request-id: {told['requestId']}".encode() in head.lower()
        wait_until("the log tells of the one that broke off", lambda: '"code":"incomplete_body"' in api.printed)
    assert stack.waiting() == 0


def _head(connector: Connector, method: str, path: str, length: int) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {connector.credential}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_process_without_room_for_another_body_is_503(stack: Stack, scene: Scene) -> None:
    with stack.api(MAX_INFLIGHT_BYTES=64 * MB, BODY_TIMEOUT_SECONDS=60) as api, ExitStack() as contexts:
        # Two bodies that lack their last byte hold 60 MB.
        head = _head(scene.connector, "POST", "/api/ingest", BODY_LIMIT)
        for _ in range(2):
            contexts.enter_context(begin(api.url, head + bytes(BODY_LIMIT - 1)))
        with scene.connector.connection(api.url) as connection:
            wait_until(
                "there is no room left",
                lambda: connection.post("/api/ingest", content=b"x" * (5 * MB), headers=JSON).status_code == 503,
            )
        full = [(method, path, b"x" * (5 * MB)) for method, path, _ in TAKING]
        refuse_each(scene, api.url, full, "overloaded", bucket_unknown=True)
        # What is small, or has no body, still passes.
        with scene.connector.connection(api.url) as connection:
            assert connection.post("/api/ingest", content=GOOD_ITEMS, headers=JSON).status_code == 202
            assert connection.get(CONFIG).status_code == 200


@pytest.mark.parametrize(
    ("setting", "code"),
    [("MAX_BACKLOG_BYTES", "backlog_full"), ("MAX_CONNECTOR_BACKLOG_BYTES", "connector_backlog_full")],
)
def test_full_backlog_is_503_on_every_route_that_adds_to_it(workerless: Stack, setting: str, code: str) -> None:
    connector, other = (workerless.connector(f"{code} {number}") for number in range(2))
    large = "x" * (MB // 3)
    heavy = [
        ("POST", "/api/ingest", batch(item("heavy", notes=large))),
        ("POST", "/api/ingest/log", json.dumps({"entries": [{"level": "info", "message": large}]}).encode()),
        ("POST", "/api/ingest/heartbeat", json.dumps({"notes": large}).encode()),
        ("POST", "/api/webhook/agents", json.dumps({"id": 1, "notes": large}).encode()),
    ]
    workerless.lanes_are_empty()
    with workerless.api(**{setting: MB}) as api:
        for _ in range(2):
            assert connector.post_to(api.url, heavy[0][2], JSON).status_code == 202

        refuse_each(Scene(connector, other, ""), api.url, heavy, code)

        assert workerless.waiting() == 2
        # What is small still fits; another connector has a part of its own.
        assert connector.post_to(api.url, GOOD_ITEMS, JSON).status_code == 202
        if code == "connector_backlog_full":
            assert other.post_to(api.url, heavy[0][2], JSON).status_code == 202
        with connector.connection(api.url) as connection:
            assert connection.get(CONFIG).status_code == 200
        with workerless.worker():
            wait_until("there is room", lambda: connector.post_to(api.url, heavy[0][2], JSON).status_code == 202)
            workerless.lanes_are_empty()


#: Codes whose tests stand elsewhere.
_ELSEWHERE = {
    "value_too_large": "test_bad_input.py",
    "item_too_large": "test_bad_input.py",
    "bad_request": "test_bad_input.py",
    "headers_too_large": "test_bad_input.py",
    "headers_timeout": "test_bad_input.py",
    "internal_error": "test_crash.py",
    "shutting_down": "test_request_status.py",
}
_BELOW = {
    "rate_limited",
    "not_ready",
    "database_unavailable",
    "store_unavailable",
    "body_timeout",
    "incomplete_body",
    "overloaded",
    "backlog_full",
    "connector_backlog_full",
}


def test_no_code_of_the_readme_is_left_out() -> None:
    section = re.split(r"^##+ Codes$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)[1]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE))

    in_table = {row.code: str(row.status) for row in TABLE if row.code}

    assert in_table.items() <= documented.items()
    assert documented.keys() == in_table.keys() | _BELOW | _ELSEWHERE.keys()
