"""Never a 5xx, whatever a request brings: the whole application but its server, on a real Redis.

Bodies, drawn and altered, go to every route that submits, plain and as gzip of several kinds, whole and in pieces, with
headers that are a little off. Each answer has the form that all have, and what was accepted is in the lane, byte for
byte.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from ingest_api.app import create_app
from operations.connectors import Connectors
from shared.entry import Entry
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from shared.redis.names import lane_keys
from shared.request_id import position_of_request
from tests.bodies import BATCHES, HEARTBEATS, LOGS, RETAINS, altered, damaged, webhooks

_ALTERED: Final = 8
_ANSWERS: Final = {202, 400, 404, 409, 413, 415}
_PATHS: Final = {
    "/api/ingest": BATCHES,
    "/datapool/api/ingest": BATCHES,
    "/api/ingest/retain": RETAINS,
    "/api/ingest/log": LOGS,
    "/api/ingest/heartbeat": HEARTBEATS,
    "/api/webhook/s": webhooks("id"),
    "/api/webhook/A.b:c?idField=%C3%A9%20%F0%9F%98%80": webhooks("é 😀"),
    "/api/webhook/a%20b?idField=%FF%00": webhooks("id"),
    "/api/webhook/%2F%00%FF?idField=": webhooks(""),
}


def _two_members(body: bytes) -> bytes:
    return gzip.compress(body[:5]) + gzip.compress(body[5:])


#: What becomes of a body under way, and with it the `Content-Encoding` that says so.
_ENCODINGS: Final[dict[str, tuple[Callable[[bytes], bytes], str | None]]] = {
    "plain": (bytes, None),
    "identity": (bytes, "identity"),
    "gzip": (gzip.compress, "gzip"),
    "GZIP, stored": (lambda body: gzip.compress(body, 0), " GZIP"),
    "gzip in two members": (_two_members, "gzip"),
    "gzip that is none": (bytes, "gzip"),
    "gzip cut short": (lambda body: gzip.compress(body)[:-3], "gzip"),
    "gzip with something behind it": (lambda body: gzip.compress(body) + b"x", "gzip"),
    "gzip twice": (lambda body: gzip.compress(gzip.compress(body)), "gzip"),
    "deflate": (zlib.compress, "deflate"),
    "UTF-16": (lambda body: body.decode(errors="replace").encode("utf-16"), None),
    "a byte order mark": (lambda body: b"\xef\xbb\xbf" + body, None),
}
_SAME: Final = {"plain", "identity", "gzip", "GZIP, stored", "gzip in two members"}
_TYPES: Final = ["application/json", "application/json; charset=utf-8", "Application/JSON", "text/plain", ""]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    path = draw(st.sampled_from(list(_PATHS)))
    media_type = draw(st.sampled_from(_TYPES)) if draw(st.integers(0, 9)) == 0 else _TYPES[0]
    return Request(path, draw(damaged(_PATHS[path])), draw(st.sampled_from(list(_ENCODINGS))), media_type)


@dataclass(frozen=True)
class Request:
    """A submission on its way."""

    path: str
    body: bytes
    encoding: str
    media_type: str

    def arguments(self, dice: random.Random) -> dict[str, Any]:
        """As httpx takes it; half of the time in pieces, without a length told beforehand."""
        change, told = _ENCODINGS[self.encoding]
        sent = change(self.body)
        headers = {"Content-Type": self.media_type} | ({"Content-Encoding": told} if told else {})
        return {"url": self.path, "headers": headers, "content": sent if dice.random() < 0.5 else _pieces(sent, dice)}


async def _pieces(body: bytes, dice: random.Random) -> AsyncIterator[bytes]:
    cuts = sorted(dice.randint(0, len(body)) for _ in range(3))
    for start, end in pairwise([0, *cuts, len(body)]):
        yield body[start:end]


class Api:
    """The application and a client of it, in an event loop that outlives the examples."""

    def __init__(self, settings: Settings, credential: str, redis: Redis) -> None:
        self.seen: Counter[int] = Counter()
        self._redis = redis
        self._credential = credential
        self._app = create_app(settings)
        self._runner = asyncio.Runner()
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._client = self._runner.run(self._start())

    async def _start(self) -> httpx.AsyncClient:
        started = asyncio.Event()

        async def send(_message: Any) -> None:
            started.set()

        self._told.put_nowait({"type": "lifespan.startup"})
        self._lifespan = asyncio.ensure_future(self._app({"type": "lifespan"}, self._told.get, send))
        await started.wait()
        headers = {"Authorization": f"Bearer {self._credential}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://api", headers=headers)

    def wait_until_loaded(self) -> None:
        deadline = time.monotonic() + 30
        while self._runner.run(self._client.post("/api/ingest/heartbeat")).status_code != 202:
            assert time.monotonic() < deadline, "it is not ready"
            self._runner.run(asyncio.sleep(0.01))

    def close(self) -> None:
        async def stop() -> None:
            await self._client.aclose()
            self._told.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan

        self._runner.run(stop())
        self._runner.close()

    def check(self, drawn: list[Request], dice: random.Random) -> None:
        """Sends these, and others that differ a little."""
        sent = [*drawn, *(replace(one, body=altered(one.body, dice)) for one in drawn for _ in range(_ALTERED))]
        for one in sent:
            answer = self._runner.run(self._client.post(**one.arguments(dice)))
            self.seen[answer.status_code] += 1
            assert answer.status_code in _ANSWERS, (one, answer.text)
            told = answer.json()
            assert answer.headers["X-Request-Id"] == told["requestId"]
            if answer.status_code == 202:
                assert one.encoding in _SAME
                kept = b"" if one.path == "/api/ingest/heartbeat" else one.body
                assert self._stored(told["requestId"]) == kept
            else:
                assert told["error"]["message"]

    def _stored(self, request_id: str) -> bytes:
        """The body in the lane."""
        position = position_of_request(request_id)
        assert position
        found: Any = self._redis.xrange(lane_keys(position.lane).stream, position.entry_id, position.entry_id)
        [(entry_id, fields)] = found
        return Entry.decode(entry_id, [part for pair in fields.items() for part in pair]).body


@pytest.fixture
def api(settings: Settings, connection: Connection, redis: Redis) -> Iterator[Api]:
    credential = Connectors(connection, redis).create("fuzz", rate=1e6, burst=1_000_000).credential.text
    api = Api(settings, credential, redis)
    api.wait_until_loaded()
    yield api
    api.close()


#: Accepted; no JSON; refused.
_ONE_OF_EACH: Final = [
    Request("/api/ingest", body, "plain", _TYPES[0]) for body in (b'{"stream":"s","items":[{"id":"a"}]}', b"{", b"{}")
]


@pytest.mark.parametrize("drawn_times", [20, pytest.param(400, marks=pytest.mark.heavy)])
def test_no_body_makes_the_api_fail_and_what_it_takes_is_in_the_lane_as_it_came(api: Api, drawn_times: int) -> None:
    @hypothesis_settings(max_examples=drawn_times)
    @given(st.lists(requests(), min_size=1, max_size=4), st.randoms(use_true_random=True))
    @example(_ONE_OF_EACH, random.Random(1))
    def check(drawn: list[Request], dice: random.Random) -> None:
        api.check(drawn, dice)

    check()

    assert {202, 400, 409} <= set(api.seen), "it must see what it is about"
