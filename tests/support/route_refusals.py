"""The refusals of the route table: authentication, bodies, shapes of each kind, unknown routes and methods."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.support.body_cases import BODY_LIMIT, gzip_of_zeros
from tests.support.client import GZIP, JSON, MB, batch, item
from tests.support.route_rows import AUTHENTICATED, CONFIG, HOOK, NEVER_ACCEPTED, STATUS, SUBMISSIONS, TAKING, Row

_BROTLI = {**JSON, "Content-Encoding": "br"}
_BOMB = gzip_of_zeros(31 * MB)


def _refused() -> list[Row]:
    rows = []
    for method, path, body in AUTHENTICATED:
        row = Row("no credential", method, path, 401, "unauthorized", body=body, authorized=False)
        rows += [
            row,
            replace(row, what="another's secret", headers={**JSON, "Authorization": b"Bearer WRONG"}),
            replace(row, what="neither credential nor body", body=b"", headers={}),
        ]
    for method, path, body in TAKING:
        row = Row("", method, path, 400, body=body)
        key = {**JSON, "Idempotency-Key": "two words"}
        other = "application/+json" if "webhook" in path else "application/scim+json"
        too_large = replace(row, status=413, code="body_too_large")
        rows += [
            replace(row, what="no JSON", code="invalid_json", body=body[:-1]),
            replace(row, what="no UTF-8", code="invalid_encoding", body=body[:-1] + b',"x":"\xff"}'),
            replace(row, what="no gzip", code="invalid_compression", headers=GZIP),
            replace(row, what="an array", status=409, code="wrong_type", at="$", body=b"[]"),
            replace(row, what="no Content-Type", status=415, code="unsupported_media_type", headers={}),
            replace(row, what="XML", status=415, code="unsupported_media_type", headers={"Content-Type": "text/xml"}),
            replace(row, what=other, status=415, code="unsupported_media_type", headers={"Content-Type": other}),
            replace(row, what="brotli", status=415, code="unsupported_encoding", headers=_BROTLI),
            replace(too_large, what="30 MB + 1 declared", body=b"", declared=BODY_LIMIT + 1),
            replace(too_large, what="30 MB + 1 within gzip", body=_BOMB, headers=GZIP),
        ]
        if path != "/api/ingest/heartbeat":
            rows.append(replace(row, what="empty", code="empty_body", body=b"", declared=0))
        if method == "POST":
            rows += [
                replace(row, what="a key with a space", status=409, code="invalid_idempotency_key", headers=key),
                replace(row, what="a key used before", status=409, code="idempotency_key_reused", body=body + b" ",
                        headers={**JSON, "Idempotency-Key": f"used-for-{path}"}),
            ]  # fmt: skip
    return [*rows, *_deliveries(), *_shapes(), *_misplaced()]


def _deliveries() -> list[Row]:
    signed = Row("", "POST", HOOK, 400, body=b'{"id":7}')
    unsigned = replace(signed, status=401, code="unauthorized", authorized=False)
    unread = replace(unsigned, status=415, code="unsupported_media_type")
    return [
        replace(unsigned, what="no signature"),
        replace(unsigned, what="a credential", headers={**JSON, "Authorization": b"Bearer CREDENTIAL"}),
        replace(unsigned, what="no such hook", path="/api/hooks/hk_" + "0" * 32),
        replace(unsigned, what="no id of a hook", path="/api/hooks/7"),
        replace(unsigned, what="no gzip", headers=GZIP),
        replace(unread, what="XML", headers={"Content-Type": "text/xml"}),
        replace(unread, what="no Content-Type", headers={}),
        replace(unread, what="brotli", code="unsupported_encoding", headers={**JSON, "Content-Encoding": "br"}),
        replace(unread, what="30 MB + 1", status=413, code="body_too_large", body=b"", declared=BODY_LIMIT + 1),
        replace(signed, what="no JSON", code="invalid_json", body=b'{"id":7'),
        replace(signed, what="empty", code="empty_body", body=b"", declared=0),
        replace(signed, what="an array", status=409, code="wrong_type", at="$", body=b"[]"),
        replace(signed, what="no id", status=409, code="missing_property", at="$.id", body=b"{}"),
        replace(
            signed,
            what="an id used before",
            status=409,
            code="idempotency_key_reused",
            headers={**JSON, "X-GitHub-Delivery": f"used-for-{HOOK}"},
        ),
    ]


def _entry(**members: Any) -> bytes:
    return json.dumps({"entries": [{"level": "info", "message": "m", **members}]}).encode()


_FIRST = "$.entries[0]"
#: Bodies and parameters that a route refuses: method, path, body, code, path in the body. `body_cases.py` has more.
_SHAPES: list[tuple[str, str, bytes, str, str | None]] = [
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
    ("POST", "/api/ingest", batch({"id": "a", "deleted": True, "tags": {}}), "unexpected_property", "$.items[0].tags"),
    ("POST", "/api/ingest/retain", b'{"stream":"a","ids":["a"],"atMost":-1}', "invalid_at_most", "$.atMost"),
    ("POST", "/api/ingest/retain", b'{"stream":"a","ids":[]}', "at_most_required", "$.ids"),
    ("POST", "/api/ingest/retain", b'{"stream":"a","ids":["a",""]}', "invalid_id", "$.ids[1]"),
    ("POST", "/api/ingest/log", b"{}", "missing_property", "$.entries"),
    ("POST", "/api/ingest/log", b'{"entries":{}}', "wrong_type", "$.entries"),
    ("POST", "/api/ingest/log", b'{"entries":[1]}', "wrong_type", _FIRST),
    ("POST", "/api/ingest/log", b'{"entries":[],"stream":"a"}', "unknown_property", "$.stream"),
    ("POST", "/api/ingest/log", b'{"entries":[{"level":"info"}]}', "missing_property", f"{_FIRST}.message"),
    ("POST", "/api/ingest/log", b'{"entries":[{"message":"m"}]}', "missing_property", f"{_FIRST}.level"),
    ("POST", "/api/ingest/log", _entry(level="notice"), "invalid_level", f"{_FIRST}.level"),
    ("POST", "/api/ingest/log", _entry(message=None), "wrong_type", f"{_FIRST}.message"),
    ("POST", "/api/ingest/log", _entry(timestamp="2026-04-09T11:08:00"), "invalid_timestamp", f"{_FIRST}.timestamp"),
    ("POST", "/api/ingest/log", _entry(timestamp=1), "wrong_type", f"{_FIRST}.timestamp"),
    ("POST", "/api/ingest/log", _entry(context={"a": {}}), "nested_value", f"{_FIRST}.context.a"),
    ("POST", "/api/ingest/log", _entry(context=None), "wrong_type", f"{_FIRST}.context"),
    ("POST", "/api/ingest/log", _entry(logger="a"), "unknown_property", f"{_FIRST}.logger"),
    ("POST", "/api/ingest/log", _entry(message="\0"), "nul_character", f"{_FIRST}.message"),
    ("POST", "/api/ingest/log", _entry(context=dict.fromkeys(map(str, range(201)))), "too_many_fields",
     f"{_FIRST}.context"),
    ("POST", "/api/ingest/log", _entry(context={"": 1}), "invalid_name", f'{_FIRST}.context[""]'),
    ("POST", "/api/ingest/log", b'{"entries":[{"level":"info","message":"m","context":{"a":1e1000}}]}',
     "number_out_of_range", f"{_FIRST}.context.a"),
    ("POST", "/api/ingest/heartbeat", b"null", "wrong_type", "$"),
    ("POST", "/api/ingest/heartbeat", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nesting_too_deep", "$"),
    ("POST", "/api/webhook/a%20b", b'{"id":1}', "invalid_stream", None),
    ("POST", "/api/webhook/a%2Fb", b'{"id":1}', "invalid_stream", None),
    ("POST", "/api/webhook/a/b", b'{"id":1}', "invalid_stream", None),
    ("POST", "/api/webhook/", b'{"id":1}', "invalid_stream", None),
    ("POST", "/api/webhook/agents", b'{"ID":1}', "missing_property", "$.id"),
    ("POST", "/api/webhook/agents?idField=key", b'{"key":{}}', "invalid_id", "$.key"),
    ("POST", "/api/webhook/agents?idField=/a/id", b'{"a":{"id":{}}}', "invalid_id", "$.a.id"),
    ("POST", "/api/webhook/agents?idField=/~2", b'{"id":1}', "invalid_parameter", "idField"),
    ("PUT", CONFIG, b"{}", "missing_property", "$.configuration"),
    ("PUT", CONFIG, b'{"configuration":{}}', "wrong_type", "$.configuration"),
    ("PUT", CONFIG, b'{"configuration":null}', "wrong_type", "$.configuration"),
    ("PUT", CONFIG, b'{"configuration":"{}","name":"a"}', "unknown_property", "$.name"),
    *(("PUT", CONFIG, json.dumps({"configuration": text}).encode(), "invalid_configuration", "$.configuration")
      for text in ("", "[]", "7", "{", "{}{}", "null", '{"a":"' + "x" * MB + '"}')),
    *(("GET", f"{STATUS}?wait={wait}", b"", "invalid_parameter", "wait") for wait in ("31", "-1", "1.5", "", "a")),
]  # fmt: skip


def _shapes() -> list[Row]:
    return [
        Row(f"{code} at {at}", method, path, 409, code, at, body, JSON if body else {})
        for method, path, body, code, at in _SHAPES
    ]


def _misplaced() -> list[Row]:
    """Unknown paths, unknown request ids, and methods that a route does not have."""
    nowhere = [
        "/api", "/api/", "/api/ingest/", "/api/ingest/logs", "/api/ingest/log/", "/api/Ingest", "//api/ingest",
        "/api//ingest", "/api/webhook", "/api/hooks", "/api/hooks/", "/api/requests",
        "/api/requests/", "/api/connector", "/api/connector/config/", "/api/connector/1/config", "/api/v5/connector",
        "/api/v6/connector", "/connector/config", "/ingest", "/datapool/api/ingest", "/healthz/",
        "/favicon.ico", "/robots.txt", "/.env", "/api/ingest/../ingest", "/%61pi/ingest/", "/docs/", "/redoc", "*",
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
        HOOK: {"POST"},
        "/healthz": {"GET", "HEAD"},
        "/readyz": {"GET", "HEAD"},
        "/healthz/pipeline": {"GET", "HEAD"},
        "/metrics": {"GET", "HEAD"},
        "/openapi.json": {"GET", "HEAD"},
        "/": {"GET", "HEAD"},
        "/docs": {"GET", "HEAD"},
    }
    for path, methods in allowed.items():
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            allow = {"allow": f"(?:(?:{'|'.join(sorted(methods))})(?:, |$)){{{len(methods)}}}"}
            row = Row("method", method, path, 405, "method_not_allowed", authorized=False, answered=allow, headers={})
            rows.append(row)
    return rows


REFUSED = _refused()
