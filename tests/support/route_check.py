"""Checks of rows of the route table against running API processes."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from tests.support.client import JSON, Connector, item
from tests.support.raw_http import Answer, RawConnection
from tests.support.route_rows import CONFIG, GOOD_CONFIGURATION, HOOK, RATE_LIMIT, REQUEST_ID, STATUS, SUBMISSIONS, Row
from tests.support.route_table import TABLE
from tests.support.signing import Hook


class Service(Protocol):
    """What the table needs of an installation, or of the emulator."""

    url: str

    def connector(self, name: str) -> Connector:
        """Create a connector."""

    def hook(self, connector: Connector, scheme: str, *words: str) -> tuple[str, Hook]:
        """Create a hook; return its id, and what its sender knows."""


@dataclass(frozen=True)
class RouteCheck:
    """The values of the table's placeholders: sends a row's request, and checks its answer."""

    connector: Connector
    other: Connector
    request_id: str
    hook: Hook | None = None

    def send(self, connection: RawConnection, base: str, row: Row) -> Answer:
        """Send a row's request."""
        key_id = self.connector.credential.split("_")[1]
        wrong = f"ik_{key_id}_{self.other.credential.split('_')[2]}"
        proof = (
            self.hook.headers(row.body, delivery=uuid4().hex)
            if self.hook and row.path == HOOK
            else self.connector.bearer
        )
        headers: dict[str, str | bytes] = {name: proof[name] for name in proof if row.authorized and name not in JSON}
        for name, value in row.headers.items():
            text = value if isinstance(value, bytes) else value.encode()
            text = text.replace(b"CREDENTIAL", self.connector.credential.encode()).replace(b"WRONG", wrong.encode())
            if b"ETAG" in text:
                document = connection.send("GET", base + CONFIG, headers=self.connector.bearer)
                text = text.replace(b"ETAG", document.headers["etag"].encode())
            headers[name] = text
        path = (
            row.path
            if row.path == "*"
            else base
            + row.path.replace("REQUEST_ID", self.request_id).replace(HOOK, self.hook.path if self.hook else HOOK)
        )
        return connection.send(row.method, path, body=row.body, headers=headers, declared=row.declared)

    def all_rows(self, url: str, base: str) -> None:
        """Send each row of the table, and assert that all are answered as it says."""
        # `/datapool` is a base at the root alone, so its rows do not apply below itself.
        rows = [row for row in TABLE if base or not row.path.startswith("/datapool/")]
        # A 401 takes 0.1 s on its connection and changes nothing, so they are asked for beside the others.
        groups = [[row for row in rows if row.status != 401], *([row] for row in rows if row.status == 401)]
        with ThreadPoolExecutor(len(groups)) as hands:
            wrong = [each for found in hands.map(lambda group: self._wrong(url, base, group), groups) for each in found]
        assert not wrong, f"{len(wrong)} of {len(rows)} rows:\n" + "\n\n".join(wrong)
        assert len(rows) > 200

    def _wrong(self, url: str, base: str, rows: list[Row]) -> list[str]:
        """Send rows one after the other; return those that are not answered as they say."""
        wrong = []
        with RawConnection(url) as connection:
            for row in rows:
                try:
                    self.check(row, self.send(connection, base, row))
                except AssertionError as error:
                    wrong.append(f"{row}\n{error}")
        return wrong

    def check(self, row: Row, answer: Answer) -> None:
        """Assert that status, headers and body are those of the row."""
        assert answer.status == row.status, answer
        _check_headers(row, answer)
        if row.method == "HEAD" or row.status == 304:
            assert answer.body == b""
            return
        document = answer.document
        request_id = document.pop(row.id_as)
        assert request_id == answer.headers["x-request-id"]
        assert (request_id == self.request_id) == (row.path.startswith(STATUS) and row.status == 200)
        if row.code is not None:
            _check_refusal(row, document)
            return
        expected = {
            name: self.connector.id if value == "CONNECTOR_ID" else value for name, value in row.members.items()
        }
        assert document.keys() == expected.keys()
        for name, value in expected.items():
            right = value in (document[name], ...) or (isinstance(value, str) and re.fullmatch(value, document[name]))
            assert right, (name, document[name])


def _check_headers(row: Row, answer: Answer) -> None:
    expected = {"x-request-id": REQUEST_ID.pattern, "date": ".+ GMT"}
    if row.status != 304:
        expected |= {"content-type": "application/json", "content-length": r"[1-9]\d*"}
    if row.authorized and not (row.bucket_unknown and "ratelimit-limit" not in answer.headers):
        expected |= RATE_LIMIT
    if row.status == 401:
        expected["www-authenticate"] = "Bearer"
    if row.status in (429, 503):
        expected["retry-after"] = r"[1-9]\d*"
    expected |= row.answered
    assert answer.headers.keys() == expected.keys(), answer.headers
    for name, pattern in expected.items():
        assert re.fullmatch(pattern, answer.headers[name]), (name, answer.headers[name])
    if answer.body:
        assert int(answer.headers["content-length"]) == len(answer.body)


def _check_refusal(row: Row, document: dict[str, Any]) -> None:
    error = document["error"]
    assert document == {"status": "error", "error": error}
    assert error["code"] == row.code
    assert error.get("path") == row.at
    assert ("faults" in error) == ("moreFaults" in error) == bool(re.match(r"\$\.(items|entries|ids)\[", row.at or ""))
    faults = error.pop("faults", [error])
    assert faults[0] == {name: value for name, value in error.items() if name != "moreFaults"}
    for fault in faults:
        assert fault.keys() <= {"code", "message", "path", "limit", "observed"}
        assert re.fullmatch(r"[^\n]+[.]", fault["message"])
        assert not re.search(r"Traceback|SELECT|psycopg|ik_[0-9a-f]{12}", fault["message"])


def route_check_on(stack: Service) -> RouteCheck:
    """Make a connector with an applied submission, a used key for each route, and a configuration."""
    connector = stack.connector("knows every route")
    request_id = connector.send(item("agent-1"))
    for path, body in SUBMISSIONS.items():
        connector.post(body, path=path, headers={**JSON, "Idempotency-Key": f"used-for-{path}"})
    _, hook = stack.hook(connector, "github", "--stream", "agents")
    hook.send(stack.url, SUBMISSIONS["/api/webhook/agents"], delivery=f"used-for-{HOOK}")
    with connector.connection() as connection:
        assert connection.get(f"/api/requests/{request_id}?wait=30").json()["state"] == "applied"
        connection.put(CONFIG, content=GOOD_CONFIGURATION, headers=JSON)
    return RouteCheck(connector, stack.connector("knows nothing"), request_id, hook)


def refuse_each(
    check: RouteCheck, url: str, refused: list[tuple[str, str, bytes]], code: str, *, bucket_unknown: bool = False
) -> None:
    """Assert that each of these requests gets a 503 with this code, at both bases."""

    def refuse(base: str, method: str, path: str, body: bytes) -> None:
        row = Row(code, method, path, 503, code, body=body, bucket_unknown=bucket_unknown)
        with RawConnection(url) as connection:
            answer = check.send(connection, base, row)
        try:
            check.check(row, answer)
        except AssertionError as error:
            raise AssertionError(f"{base} {row}\n{error}") from None

    # Concurrently, since each may take the whole timeout of an engine.
    with ThreadPoolExecutor(len(refused)) as hands:
        for done in [hands.submit(refuse, base, *one) for base in ("", "/datapool") for one in refused]:
            done.result()
