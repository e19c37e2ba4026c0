"""Bad input is refused with a status, a code and a path, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.body_cases import BAD, LARGE_BAD, Bad
from tests.support.client import JSON, NO_TLS, Connector, assert_refused, assert_well_formed, batch, get, item, talk
from tests.support.processes import resident_bytes, wait_until
from tests.support.stack import Stack

_GOOD = batch(item("agent-1", state="Ready"))
_MB = 1_048_576
_PATHS = ["/api/ingest", "/datapool/api/ingest"]


@pytest.fixture(scope="module")
def careless(stack: Stack) -> Iterator[Connector]:
    """A connector that sends only bad input, and one valid item in the end, which must be all that is stored."""
    connector = stack.connector("careless")
    yield connector
    connector.send(item("valid"))
    wait_until("the valid item is stored", lambda: stack.fields(connector, "valid") is not None)
    assert {table: stack.count(table, connector) for table in ("items", "receipts", "dead_letters")} == {
        "items": 1,
        "receipts": 1,
        "dead_letters": 0,
    }
    stack.lanes_are_empty()


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_submission_is_refused_with_its_reason_and_place(stack: Stack, careless: Connector, bad: Bad) -> None:
    before = stack.waiting()

    answer = careless.post(bad.body(), headers=bad.headers)

    error = assert_refused(answer, bad.status, bad.code, bad.path)
    assert ("limit" in error) >= ("observed" in error)
    if "observed" in error:
        # The observed value is over the limit, or 0 if the value may not be empty.
        assert error["observed"] > error["limit"] or error["observed"] == 0
    assert stack.waiting() == before


def test_every_invalid_credential_gets_the_same_answer(
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
        # Without a letter, as one in 300 is, it would be right.
        *(() if key_id.isdecimal() else (f"Bearer ik_{key_id.upper()}_{secret}",)),
        f"Bearer ik_000000000000_{secret}",
        f"Bearer {disabled.credential}",
        f"Bearer {rotated.credential}",
        "Bearer é".encode("latin-1"),
    ]

    answers = []
    with httpx.Client(base_url=stack.url, trust_env=False, verify=NO_TLS) as client:
        for value in wrong:
            headers = [(b"content-type", b"application/json")]
            if value is not None:
                headers.append((b"authorization", value if isinstance(value, bytes) else value.encode()))
            answers += [client.post(path, content=_GOOD, headers=headers) for path in _PATHS]

    for answer in answers:
        assert_refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert len({_without_request_id_and_date(answer) for answer in answers}) == 1


def _without_request_id_and_date(answer: httpx.Response) -> tuple[object, ...]:
    request_id = answer.headers["X-Request-Id"]
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    return answer.text.replace(request_id, ""), tuple(sorted(headers.items()))


def test_body_is_not_validated_without_a_valid_credential(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False, verify=NO_TLS) as client:
        answer = client.post("/api/ingest", content=b"no JSON", headers=JSON)

    assert_refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("prefix", ["", "/datapool"])
def test_unknown_route_is_not_found(stack: Stack, prefix: str) -> None:
    for path in ("//", "/api", "/api/ingest/", "/api/ingest/nothing", "/API/INGEST", "/%00", "/api//ingest"):
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
def test_wrong_method_is_405_with_the_allowed_ones(
    stack: Stack, prefix: str, method: str, path: str, allowed: set[str]
) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False, verify=NO_TLS) as client:
        answer = client.request(method, f"{prefix}{path}")

    assert_refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "request_",
    [b"BREW /api/ingest HTTP/1.1\r\n\r\n", b"POST /api/ingest HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\0\r\n\r\n"],
    ids=["unknown method", "Content-Length is no number", "no HTTP"],
)
def test_malformed_http_gets_a_well_formed_answer(stack: Stack, request_: bytes) -> None:
    head, answer = talk(stack.url, request_)

    assert head.startswith(b"HTTP/1.1 400 ")
    document = json.loads(answer)
    assert document["status"] == "error"
    assert f"x-request-id: {document['requestId']}".encode() in head.lower()


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/healthz/pipeline", "/datapool/readyz", "/datapool/healthz/pipeline"]
)
def test_health_checks_are_well_formed(stack: Stack, path: str) -> None:
    answer = get(f"{stack.url}{path}")

    assert answer.status_code == 200
    assert_well_formed(answer)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read from /proc")
def test_memory_is_released_after_large_bodies_were_refused(stack: Stack, careless: Connector) -> None:
    with stack.cold_api() as api, careless.connection(api.url) as connection:
        for _ in range(20):
            connection.post("/api/ingest", content=b"{}", headers=JSON)
        before = resident_bytes(api.pid)

        for bad in LARGE_BAD * 2:
            assert_refused(careless.post_to(api.url, bad.body(), bad.headers), bad.status, bad.code, bad.path)

        wait_until(
            f"the API holds no more than 100 MB over {before // _MB} MB",
            lambda: resident_bytes(api.pid) <= before + 100 * _MB,
        )
