"""What every route answers: a row for each good request, and for each refusal that needs nothing else."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.system.bodies import BODY_LIMIT, gzip_of_zeros
from tests.system.client import GZIP, JSON, MB, batch, item

REQUEST_ID = re.compile(r"req_[a-z0-9]{14}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BURST = 1_000_000
RATE_LIMIT = {"ratelimit-limit": str(BURST), "ratelimit-remaining": r"\d+", "ratelimit-reset": r"\d+"}
CONFIG, STATUS = "/api/connector/config", "/api/requests/REQUEST_ID"
NEVER_ACCEPTED = "req_00000000000000"

GOOD_ITEMS = batch(item("agent-1", state="Ready"), item("agent-2"))
GOOD_LOG = b'{"entries":[{"level":"INFO","message":"Poll completed","context":{"rows":"52"}}]}'
GOOD_CONFIGURATION = b'{"configuration":"{\\"Version\\": \\"7.0\\"}"}'
#: The routes that take a body, with a good one.
SUBMISSIONS = {
    "/api/ingest": GOOD_ITEMS,
    "/api/ingest/log": GOOD_LOG,
    "/api/ingest/heartbeat": b'{"any":["thing"]}',
    "/api/webhook/agents": b'{"id":7,"a":{"b":[1]}}',
}
TAKING = [*(("POST", path, body) for path, body in SUBMISSIONS.items()), ("PUT", CONFIG, GOOD_CONFIGURATION)]
ASKING = [("GET", CONFIG, b""), ("GET", STATUS, b"")]
AUTHENTICATED = [*TAKING, *ASKING]
COUNTED = {
    "/api/ingest": {"itemsReceived": 2},
    "/api/ingest/log": {"entriesReceived": 1},
    "/api/ingest/heartbeat": {},
    "/api/webhook/agents": {"itemsReceived": 1},
}


@dataclass(frozen=True)
class Row:
    """A request, and the whole of what must come back."""

    what: str
    method: str
    path: str
    status: int
    #: Of a refusal.
    code: str | None = None
    #: Where in the body the refusal points to.
    at: str | None = None
    body: bytes = b""
    headers: Mapping[str, str | bytes] = field(default_factory=lambda: JSON)
    #: A length other than the body's own.
    declared: int | None = None
    #: Whether the credential is sent, and so its bucket told of.
    authorized: bool = True
    #: Whether what should know the bucket is away, or was not asked.
    bucket_unknown: bool = False
    #: Headers of the answer beside those that all have, as patterns.
    answered: Mapping[str, str] = field(default_factory=dict)
    #: Members of a success beside `requestId`: values, patterns of strings, or … for any.
    told: Mapping[str, Any] = field(default_factory=dict)
    #: The member of the body that holds the request's id.
    id_as: str = "requestId"

    def __str__(self) -> str:
        return f"{self.method} {self.path} · {self.what}"


def _good() -> list[Row]:
    return [*_good_submissions(), *_good_configurations(), *_good_statuses(), *_good_elsewhere()]


def _good_submissions() -> list[Row]:
    rows = []
    for path, body in SUBMISSIONS.items():
        told = {"status": "accepted", **COUNTED[path]}
        plain = Row("good", "POST", path, 202, body=body, told=told)
        rows += [
            plain,
            replace(plain, what="gzip", body=gzip.compress(body), headers=GZIP),
            replace(plain, what="identity", headers={**JSON, "Content-Encoding": "identity"}),
            replace(plain, what="a charset", headers={"Content-Type": "Application/JSON; charset=utf-8"}),
            replace(plain, what="another spelling of Bearer", headers={**JSON, "Authorization": b"bearer CREDENTIAL"}),
            replace(plain, what="a query that means nothing", path=f"{path}?debug=1"),
            replace(
                plain,
                what="a repeat",
                headers={**JSON, "Idempotency-Key": f"used-for-{path}"},
                answered={"idempotent-replayed": "true"},
            ),
        ]
    return [
        *rows,
        Row("no items", "POST", "/api/ingest", 202, body=batch(), told={"status": "accepted", "itemsReceived": 0}),
        Row("no body", "POST", "/api/ingest/heartbeat", 202, headers={}, told={"status": "accepted"}),
        Row("an empty body", "POST", "/api/ingest/heartbeat", 202, declared=0, headers={}, told={"status": "accepted"}),
    ]


def _good_configurations() -> list[Row]:
    configuration = {
        "connectorId": "CONNECTOR_ID",
        "name": r"knows every route",
        "configuration": r'\{"Version": "7\.0"\}',
        "defaultConfiguration": True,
        "dataPoolAddress": r"http://127\.0\.0\.1:\d+",
    }
    tagged = {"etag": '"[0-9a-f]{32}"', "cache-control": "private, no-cache"}
    shown = Row("good", "GET", CONFIG, 200, headers={}, answered=tagged, told=configuration)
    return [
        replace(shown, what="good", method="PUT", body=GOOD_CONFIGURATION, headers=JSON),
        shown,
        replace(shown, what="HEAD", method="HEAD"),
        replace(shown, what="another tag", headers={"If-None-Match": '"0123"'}),
        replace(shown, what="the same tag", status=304, headers={"If-None-Match": "ETAG"}),
        replace(shown, what="the same among others", status=304, headers={"If-None-Match": '"0123", W/ETAG'}),
        replace(shown, what="any tag", status=304, headers={"If-None-Match": "*"}),
    ]


def _good_statuses() -> list[Row]:
    status = Row(
        "applied",
        "GET",
        STATUS,
        200,
        headers={},
        told={
            "status": "ok",
            "state": "applied",
            "kind": "items",
            "receivedAt": MOMENT.pattern,
            "appliedAt": MOMENT.pattern,
            "itemsReceived": 1,
        },
    )
    return [
        status,
        replace(status, what="HEAD", method="HEAD"),
        replace(status, what="wait", path=f"{STATUS}?wait=30"),
    ]


def _good_elsewhere() -> list[Row]:
    openapi = Row(
        "good",
        "GET",
        "/openapi.json",
        200,
        headers={},
        authorized=False,
        told={"openapi": r"3\.1\.\d", **dict.fromkeys(("info", "servers", "paths", "components", "tags"), ...)},
        # OpenAPI takes no foreign members but those that begin with x-.
        id_as="x-request-id",
    )
    return [
        Row("good", "GET", "/metrics", 200, headers={}, authorized=False, told={"status": "ok", "metrics": ...}),
        Row("HEAD", "HEAD", "/metrics", 200, headers={}, authorized=False),
        openapi,
        replace(openapi, what="HEAD", method="HEAD"),
        *(
            Row(method, method, path, 200, headers={}, authorized=False, told={"status": "ok"})
            for path in ("/healthz", "/readyz")
            for method in ("GET", "HEAD")
        ),
    ]


def _refused() -> list[Row]:
    rows = []
    for method, path, body in AUTHENTICATED:
        row = Row("no credential", method, path, 401, "unauthorized", body=body, authorized=False)
        rows += [
            row,
            replace(row, what="another's secret", headers={**JSON, "Authorization": b"Bearer WRONG"}),
            replace(row, what="no body either", body=b"", headers={}),
        ]
    for method, path, body in TAKING:
        row = Row("", method, path, 400, body=body)
        key = {**JSON, "Idempotency-Key": "two words"}
        brotli = {**JSON, "Content-Encoding": "br"}
        too_large = replace(row, status=413, code="body_too_large")
        rows += [
            replace(row, what="no JSON", code="invalid_json", body=body[:-1]),
            replace(row, what="no UTF-8", code="invalid_encoding", body=body[:-1] + b',"x":"\xff"}'),
            replace(row, what="no gzip", code="invalid_compression", headers=GZIP),
            replace(row, what="an array", status=409, code="wrong_type", at="$", body=b"[]"),
            replace(row, what="no Content-Type", status=415, code="unsupported_media_type", headers={}),
            replace(row, what="XML", status=415, code="unsupported_media_type", headers={"Content-Type": "text/xml"}),
            replace(row, what="brotli", status=415, code="unsupported_encoding", headers=brotli),
            replace(too_large, what="30 MB + 1 told beforehand", body=b"", declared=BODY_LIMIT + 1),
            replace(too_large, what="30 MB + 1 within gzip", body=BOMB, headers=GZIP),
        ]
        if path != "/api/ingest/heartbeat":
            rows.append(replace(row, what="empty", code="empty_body", body=b"", declared=0))
        if method == "POST":
            rows += [
                replace(row, what="a key with a space", status=409, code="invalid_idempotency_key", headers=key),
                replace(
                    row,
                    what="a key used before",
                    status=409,
                    code="idempotency_key_reused",
                    body=body + b" ",
                    headers={**JSON, "Idempotency-Key": f"used-for-{path}"},
                ),
            ]
    return [*rows, *_shapes(), *_misplaced()]


BOMB = gzip_of_zeros(31 * MB)


def _shapes() -> list[Row]:
    """What each route itself finds wrong; items are judged at length in `test_bad_input.py`, webhooks in their own."""

    def entry(**members: Any) -> bytes:
        return json.dumps({"entries": [{"level": "info", "message": "m", **members}]}).encode()

    first = "$.entries[0]"
    found: list[tuple[str, str, bytes, str, str | None]] = [
        ("POST", "/api/ingest", b'{"items":[]}', "missing_property", "$.stream"),
        ("POST", "/api/ingest", b'{"stream":"a b","items":[]}', "invalid_stream", "$.stream"),
        ("POST", "/api/ingest", b'{"stream":"a","items":[{"id":""}]}', "invalid_id", "$.items[0].id"),
        ("POST", "/api/ingest", batch({"id": "a", "name": "n" * 1025}), "invalid_name", "$.items[0].name"),
        ("POST", "/api/ingest", batch(item("a", b=[])), "nested_value", "$.items[0].fields.b"),
        ("POST", "/api/ingest", batch(item("a", b="\0")), "nul_character", "$.items[0].fields.b"),
        ("POST", "/api/ingest", batch(item("a", **dict.fromkeys(map(str, range(201))))), "too_many_fields",
         "$.items[0].fields"),
        ("POST", "/api/ingest", batch({"id": "a", "tags": dict.fromkeys(map(str, range(201)))}), "too_many_tags",
         "$.items[0].tags"),
        ("POST", "/api/ingest/log", b"{}", "missing_property", "$.entries"),
        ("POST", "/api/ingest/log", b'{"entries":{}}', "wrong_type", "$.entries"),
        ("POST", "/api/ingest/log", b'{"entries":[1]}', "wrong_type", first),
        ("POST", "/api/ingest/log", b'{"entries":[],"stream":"a"}', "unknown_property", "$.stream"),
        ("POST", "/api/ingest/log", b'{"entries":[{"level":"info"}]}', "missing_property", f"{first}.message"),
        ("POST", "/api/ingest/log", b'{"entries":[{"message":"m"}]}', "missing_property", f"{first}.level"),
        ("POST", "/api/ingest/log", entry(level="notice"), "invalid_level", f"{first}.level"),
        ("POST", "/api/ingest/log", entry(message=None), "wrong_type", f"{first}.message"),
        ("POST", "/api/ingest/log", entry(timestamp="2026-04-09T11:08:00"), "invalid_timestamp", f"{first}.timestamp"),
        ("POST", "/api/ingest/log", entry(timestamp=1), "wrong_type", f"{first}.timestamp"),
        ("POST", "/api/ingest/log", entry(context={"a": {}}), "nested_value", f"{first}.context.a"),
        ("POST", "/api/ingest/log", entry(context=None), "wrong_type", f"{first}.context"),
        ("POST", "/api/ingest/log", entry(logger="a"), "unknown_property", f"{first}.logger"),
        ("POST", "/api/ingest/log", entry(message="\0"), "nul_character", f"{first}.message"),
        ("POST", "/api/ingest/log", entry(context={"": 1}), "invalid_name", f'{first}.context[""]'),
        ("POST", "/api/ingest/log", b'{"entries":[{"level":"info","message":"m","context":{"a":1e1000}}]}',
         "number_out_of_range", f"{first}.context.a"),
        ("POST", "/api/ingest/heartbeat", b"null", "wrong_type", "$"),
        ("POST", "/api/ingest/heartbeat", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nesting_too_deep", "$"),
        ("POST", "/api/webhook/a%20b", b'{"id":1}', "invalid_stream", None),
        ("POST", "/api/webhook/a%2Fb", b'{"id":1}', "invalid_stream", None),
        ("POST", "/api/webhook/a/b", b'{"id":1}', "invalid_stream", None),
        ("POST", "/api/webhook/", b'{"id":1}', "invalid_stream", None),
        ("POST", "/api/webhook/agents", b'{"ID":1}', "missing_property", "$.id"),
        ("POST", "/api/webhook/agents?idField=key", b'{"key":{}}', "invalid_id", "$.key"),
        ("PUT", CONFIG, b"{}", "missing_property", "$.configuration"),
        ("PUT", CONFIG, b'{"configuration":{}}', "wrong_type", "$.configuration"),
        ("PUT", CONFIG, b'{"configuration":null}', "wrong_type", "$.configuration"),
        ("PUT", CONFIG, b'{"configuration":"{}","name":"a"}', "unknown_property", "$.name"),
        *(("PUT", CONFIG, json.dumps({"configuration": text}).encode(), "invalid_configuration", "$.configuration")
          for text in ("", "[]", "7", "{", "{}{}", "null", '{"a":"' + "x" * MB + '"}')),
        *(("GET", f"{STATUS}?wait={wait}", b"", "invalid_parameter", "wait") for wait in ("31", "-1", "1.5", "", "a")),
    ]  # fmt: skip
    return [
        Row(f"{code} at {at}", method, path, 409, code, at, body, JSON if body else {})
        for method, path, body, code, at in found
    ]


def _misplaced() -> list[Row]:
    """What is asked where nobody answers, or with a method that nobody expects."""
    nowhere = [
        "/", "/api", "/api/", "/api/ingest/", "/api/ingest/logs", "/api/ingest/log/", "/api/Ingest", "//api/ingest",
        "/api//ingest", "/api/webhook", "/api/requests",
        "/api/requests/", "/api/connector", "/api/connector/config/", "/api/connector/1/config", "/api/v5/connector",
        "/api/v6/connector", "/connector/config", "/ingest", "/datapool", "/datapool/api/ingest", "/healthz/",
        "/favicon.ico", "/robots.txt", "/.env", "/api/ingest/../ingest", "/%61pi/ingest/", "/docs", "/redoc", "*",
    ]  # fmt: skip
    rows = [
        *(
            Row("no route", method, path, 404, "not_found", authorized=False, body=b"{}")
            for path in nowhere
            for method in ("GET", "POST")
        ),
        Row("HEAD", "HEAD", "/api/nothing", 404, "not_found", authorized=False),
        Row("OPTIONS", "OPTIONS", "/api/nothing", 404, "not_found", authorized=False),
    ]
    for request_id in (NEVER_ACCEPTED, "req_zzzzzzzzzzzzzz", "7", "REQUEST_IDx", "%C3%A9"):
        path = f"/api/requests/{request_id}"
        rows.append(Row("never accepted", "GET", path, 404, "unknown_request", headers={}))
    allowed = {
        **{path: {"POST"} for path in SUBMISSIONS},
        CONFIG: {"GET", "HEAD", "PUT"},
        STATUS: {"GET", "HEAD"},
        "/healthz": {"GET", "HEAD"},
        "/readyz": {"GET", "HEAD"},
        "/metrics": {"GET", "HEAD"},
        "/openapi.json": {"GET", "HEAD"},
    }
    for path, methods in allowed.items():
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            allow = {"allow": f"(?:(?:{'|'.join(sorted(methods))})(?:, |$)){{{len(methods)}}}"}
            row = Row("method", method, path, 405, "method_not_allowed", authorized=False, answered=allow, headers={})
            rows.append(row)
    return rows


TABLE = [*_good(), *_refused()]
