"""A row of the route table: a request with its whole answer; and the routes, each with a valid body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.client import JSON, batch, item

REQUEST_ID = re.compile(r"req_[a-z0-9]{14}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BURST = 1_000_000
RATE_LIMIT = {"ratelimit-limit": str(BURST), "ratelimit-remaining": r"\d+", "ratelimit-reset": r"\d+"}
CONFIG, STATUS = "/api/connector/config", "/api/requests/REQUEST_ID"
#: The path of a hook of GitHub's; a row of it is signed instead of carrying the credential.
HOOK = "/api/hooks/HOOK_ID"
NEVER_ACCEPTED = "req_00000000000000"

GOOD_ITEMS = batch(item("agent-1", state="Ready"), item("agent-2"))
GOOD_LOG = b'{"entries":[{"level":"INFO","message":"Poll completed","context":{"rows":"52"}}]}'
GOOD_CONFIGURATION = b'{"configuration":"{\\"Version\\": \\"7.0\\"}"}'
#: The routes that append, each with a valid body.
SUBMISSIONS = {
    "/api/ingest": GOOD_ITEMS,
    "/api/ingest/retain": b'{"stream":"queues","ids":["sales","support"],"atMost":0}',
    "/api/ingest/log": GOOD_LOG,
    "/api/ingest/heartbeat": b'{"any":["thing"]}',
    "/api/webhook/agents": b'{"id":7,"a":{"b":[1]}}',
}
TAKING = [*(("POST", path, body) for path, body in SUBMISSIONS.items()), ("PUT", CONFIG, GOOD_CONFIGURATION)]
ASKING = [("GET", CONFIG, b""), ("GET", STATUS, b"")]
AUTHENTICATED = [*TAKING, *ASKING]
COUNTED = {
    "/api/ingest": {"itemsReceived": 2},
    "/api/ingest/retain": {"idsReceived": 2},
    "/api/ingest/log": {"entriesReceived": 1},
    "/api/ingest/heartbeat": {},
    "/api/webhook/agents": {"itemsReceived": 1},
}


@dataclass(frozen=True)
class Row:
    """A request, and the whole answer that it must get."""

    what: str
    method: str
    path: str
    status: int
    #: Error code; None for a success.
    code: str | None = None
    #: Path in the body that the error points to.
    at: str | None = None
    body: bytes = b""
    headers: Mapping[str, str | bytes] = field(default_factory=lambda: JSON)
    #: Content-Length, if it is not that of the body.
    declared: int | None = None
    #: Whether the credential is sent, or the body signed, so that the answer has the headers of its rate limit.
    authorized: bool = True
    #: Whether the rate limit may be unknown, since Redis is away or was not asked.
    bucket_unknown: bool = False
    #: Headers of the answer in addition to those of every answer, as patterns.
    answered: Mapping[str, str] = field(default_factory=dict)
    #: Members of a success in addition to `requestId`: values, patterns of strings, or … for any.
    members: Mapping[str, Any] = field(default_factory=dict)
    #: The member of the body that is the request id.
    id_as: str = "requestId"

    def __str__(self) -> str:
        return f"{self.method} {self.path} · {self.what}"
