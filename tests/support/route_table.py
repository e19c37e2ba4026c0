"""The route table: a row for each valid request, and for each refusal that needs no fault around the process."""

from __future__ import annotations

import gzip
from dataclasses import replace

from tests.support.client import GZIP, JSON, batch
from tests.support.route_refusals import REFUSED
from tests.support.route_rows import CONFIG, COUNTED, GOOD_CONFIGURATION, HOOK, MOMENT, STATUS, SUBMISSIONS, Row

_WEBHOOK = "/api/webhook/agents"


def _good() -> list[Row]:
    return [*_good_submissions(), *_good_deliveries(), *_good_configurations(), *_good_statuses(), *_good_others()]


def _good_submissions() -> list[Row]:
    rows = []
    for path, body in SUBMISSIONS.items():
        members = {"status": "accepted", **COUNTED[path]}
        plain = Row("good", "POST", path, 202, body=body, members=members)
        rows += [
            plain,
            replace(plain, what="gzip", body=gzip.compress(body), headers=GZIP),
            replace(plain, what="identity", headers={**JSON, "Content-Encoding": "identity"}),
            replace(plain, what="a charset", headers={"Content-Type": "Application/JSON; charset=utf-8"}),
            replace(plain, what="another spelling of Bearer", headers={**JSON, "Authorization": b"bearer CREDENTIAL"}),
            replace(plain, what="an unknown query parameter", path=f"{path}?debug=1"),
            replace(
                plain,
                what="a repeat",
                headers={**JSON, "Idempotency-Key": f"used-for-{path}"},
                answered={"idempotent-replayed": "true"},
            ),
        ]
    plain = Row(
        "", "POST", _WEBHOOK, 202, body=SUBMISSIONS[_WEBHOOK], members={"status": "accepted"} | COUNTED[_WEBHOOK]
    )
    return [
        *rows,
        Row("no items", "POST", "/api/ingest", 202, body=batch(), members={"status": "accepted", "itemsReceived": 0}),
        *(
            replace(plain, what=media_type, headers={"Content-Type": media_type})
            for media_type in ("application/cloudevents+json", "Application/SCIM+json; charset=utf-8")
        ),
        Row("no body", "POST", "/api/ingest/heartbeat", 202, headers={}, members={"status": "accepted"}),
        Row(
            "an empty body",
            "POST",
            "/api/ingest/heartbeat",
            202,
            declared=0,
            headers={},
            members={"status": "accepted"},
        ),
    ]


def _good_deliveries() -> list[Row]:
    members = {"status": "accepted", "itemsReceived": 1}
    signed = Row("signed", "POST", HOOK, 202, body=SUBMISSIONS["/api/webhook/agents"], members=members)
    return [
        signed,
        replace(signed, what="a key, which hooks ignore", headers={**JSON, "Idempotency-Key": "two words"}),
        replace(
            signed,
            what="a repeat",
            headers={**JSON, "X-GitHub-Delivery": f"used-for-{HOOK}"},
            answered={"idempotent-replayed": "true"},
        ),
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
    shown = Row("good", "GET", CONFIG, 200, headers={}, answered=tagged, members=configuration)
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
        members={
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


def _good_others() -> list[Row]:
    openapi = Row(
        "good",
        "GET",
        "/openapi.json",
        200,
        headers={},
        authorized=False,
        members={"openapi": r"3\.1\.\d", **dict.fromkeys(("info", "servers", "paths", "components", "tags"), ...)},
        # OpenAPI allows additional members only if they begin with x-.
        id_as="x-request-id",
    )
    page = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": r"default-src 'none'; style-src 'sha256-\S+'; base-uri 'none'; .*",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return [
        *(Row("page", "HEAD", path, 200, headers={}, authorized=False, answered=page) for path in ("/", "/docs")),
        Row("good", "GET", "/metrics", 200, headers={}, authorized=False, members={"status": "ok", "metrics": ...}),
        Row("HEAD", "HEAD", "/metrics", 200, headers={}, authorized=False),
        openapi,
        replace(openapi, what="HEAD", method="HEAD"),
        *(
            Row(method, method, path, 200, headers={}, authorized=False, members={"status": "ok", "conditions": ...})
            for path in ("/healthz", "/healthz/pipeline", "/readyz")
            for method in ("GET", "HEAD")
        ),
    ]


TABLE = [*_good(), *REFUSED]
