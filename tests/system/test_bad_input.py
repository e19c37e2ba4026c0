"""What is refused: with which status, code and path, and that nothing of it stays anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.bodies import BAD, LARGE_BAD, Bad
from tests.system.client import JSON, Connector, assert_refused, assert_well_formed, batch, get, item, talk
from tests.system.processes import resident_bytes, wait_until
from tests.system.stack import Stack

_GOOD = batch(item("agent-1", state="Ready"))
_MB = 1_048_576
_SURFACES = ["/api/ingest", "/datapool/api/ingest"]


@pytest.fixture(scope="module")
def careless(stack: Stack) -> Iterator[Connector]:
    """A connector that sends nothing good, until the end: then only that has arrived."""
    connector = stack.connector("careless")
    yield connector
    connector.send(item("good"))
    wait_until("the good one is there", lambda: stack.fields(connector, "good") is not None)
    assert {table: stack.count(table, connector) for table in ("items", "receipts", "dead_letters")} == {
        "items": 1,
        "receipts": 1,
        "dead_letters": 0,
    }
    stack.lanes_are_empty()


@pytest.mark.parametrize("path", _SURFACES)
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_submission_is_refused_with_its_reason_and_place(
    stack: Stack, careless: Connector, bad: Bad, path: str
) -> None:
    before = stack.waiting()

    answer = careless.post(bad.body(), path=path, headers=bad.headers)

    error = assert_refused(answer, bad.status, bad.code, bad.path)
    assert ("limit" in error) >= ("observed" in error)
    if "observed" in error:
        # What breaks a limit is over it; only what may not be empty is below.
        assert error["observed"] > error["limit"] or error["observed"] == 0
    assert stack.waiting() == before


def test_all_that_is_wrong_with_a_credential_gets_one_answer(
    stack: Stack, careless: Connector, new_connector: Callable[..., Connector]
) -> None:
    disabled, rotated = new_connector(stack), new_connector(stack)
    stack.ingestctl("connector", "disable", str(disabled.id))
    stack.rotate(rotated)
    _, key_id, secret = careless.credential.split("_")
    wrong = [
        None,
        "",
        "Bearer",
        careless.credential,
        f"Basic {careless.credential}",
        f"Bearer {careless.credential}x",
        f"Bearer ik_{key_id}",
        f"Bearer ik_{key_id}_{secret.swapcase()}",
        f"Bearer ik_{key_id.upper()}_{secret}",
        f"Bearer ik_000000000000_{secret}",
        f"Bearer {disabled.credential}",
        f"Bearer {rotated.credential}",
        "Bearer é".encode("latin-1"),
    ]

    answers = []
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        for value in wrong:
            headers = [(b"content-type", b"application/json")]
            if value is not None:
                headers.append((b"authorization", value if isinstance(value, bytes) else value.encode()))
            answers += [client.post(path, content=_GOOD, headers=headers) for path in _SURFACES]

    for answer in answers:
        assert_refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert len({_without_what_differs(answer) for answer in answers}) == 1


def _without_what_differs(answer: httpx.Response) -> tuple[object, ...]:
    request_id = answer.headers["X-Request-Id"]
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    return answer.text.replace(request_id, ""), tuple(sorted(headers.items()))


def test_body_of_a_stranger_is_not_judged(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        answer = client.post("/api/ingest", content=b"no JSON", headers=JSON)

    assert_refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("prefix", ["", "/datapool"])
def test_unknown_route_is_not_found(stack: Stack, prefix: str) -> None:
    for path in ("/", "/api", "/api/ingest/", "/api/ingest/nothing", "/API/INGEST", "/%00", "/api//ingest"):
        assert_refused(get(f"{stack.url}{prefix}{path}"), 404, "not_found")


@pytest.mark.parametrize("prefix", ["", "/datapool"])
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/ingest", {"POST"}),
        ("PUT", "/api/ingest", {"POST"}),
        ("DELETE", "/api/ingest", {"POST"}),
        ("OPTIONS", "/api/ingest", {"POST"}),
        ("PURGE", "/api/ingest", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_wrong_method_is_told_the_right_one(
    stack: Stack, prefix: str, method: str, path: str, allowed: set[str]
) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        answer = client.request(method, f"{prefix}{path}")

    assert_refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "request_",
    [b"BREW /api/ingest HTTP/1.1\r\n\r\n", b"POST /api/ingest HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\0\r\n\r\n"],
    ids=["a method that HTTP doesn't know", "a length that is no number", "no HTTP"],
)
def test_request_that_is_no_http_is_answered_in_form_too(stack: Stack, request_: bytes) -> None:
    head, answer = talk(stack.url, request_)

    assert head.startswith(b"HTTP/1.1 400 ")
    told = json.loads(answer)
    assert told["status"] == "error"
    assert f"x-request-id: {told['requestId']}".encode() in head.lower()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/datapool/healthz", "/datapool/readyz"])
def test_health_is_told_in_form(stack: Stack, path: str) -> None:
    answer = get(f"{stack.url}{path}")

    assert answer.status_code == 200
    assert_well_formed(answer)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="another process's memory is read from /proc")
def test_memory_is_back_after_large_bodies_were_refused(stack: Stack, careless: Connector) -> None:
    with stack.api() as api, careless.connection(api.url) as connection:
        for _ in range(20):
            connection.post("/api/ingest", content=b"{}", headers=JSON)
        before = resident_bytes(api.pid)

        for bad in LARGE_BAD * 2:
            assert_refused(careless.post_to(api.url, bad.body(), bad.headers), bad.status, bad.code, bad.path)

        wait_until(
            f"the API holds no more than 100 MB over {before // _MB} MB",
            lambda: resident_bytes(api.pid) <= before + 100 * _MB,
        )
