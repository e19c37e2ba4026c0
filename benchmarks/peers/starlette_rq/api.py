"""The API: checks the key, validates the body by hand, queues a job."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import Any
from uuid import uuid4

import orjson
import psycopg
from queues import queue
from rq import Retry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MAX_BODY = 30 * 1024 * 1024
MAX_VALUES = 200
STREAM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ALLOWED = {"id", "name", "fields", "tags"}
PRIMITIVES = (str, int, float, bool, type(None))

connectors: dict[str, int] = {}


class Refused(Exception):
    """The submission breaks the contract."""


def load_connectors() -> None:
    """Load all keys."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connectors.update(connection.execute("SELECT key_hash, id FROM peers.connectors").fetchall())


async def connector_of(request: Request) -> int | None:
    """Return the connector of a key, from memory or from Postgres."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    key_hash = hashlib.sha256(credential.encode()).hexdigest()
    if key_hash not in connectors:
        await run_in_threadpool(load_connectors)
    return connectors.get(key_hash)


def checked(body: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Return the stream and the items of a body. Raises Refused."""
    try:
        submission = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise Refused("The body is not JSON.") from fault
    match submission:
        case {"stream": str(stream), "items": list(items)} if len(submission) == 2 and STREAM.fullmatch(stream):  # noqa: PLR2004
            for item in items:
                check_item(item)
            return stream, items
    raise Refused("The body must hold a stream and items.")


def check_item(item: Any) -> None:
    """Validate an item. Raises Refused."""
    if not isinstance(item, dict) or not item.keys() <= ALLOWED:
        raise Refused("An item has an id, a name, fields and tags.")
    item_id, name = item.get("id"), item.get("name")
    if not isinstance(item_id, str) or not 1 <= len(item_id) <= 512:  # noqa: PLR2004
        raise Refused("An item's id is a string of 1 to 512 characters.")
    if name is not None and not (isinstance(name, str) and len(name) <= 1024):  # noqa: PLR2004
        raise Refused("An item's name is a string of up to 1,024 characters.")
    for values in (item.get("fields", {}), item.get("tags", {})):
        if not isinstance(values, dict) or len(values) > MAX_VALUES:
            raise Refused("Fields and tags are objects of up to 200 members.")
        for key, value in values.items():
            if not 1 <= len(key) <= 256 or not isinstance(value, PRIMITIVES):  # noqa: PLR2004
                raise Refused("A value is a string, a number, a boolean or null.")


def enqueue(job_id: str, connector_id: int, stream: str, items: list[dict[str, Any]]) -> None:
    """Queue a job; return when it is on disk."""
    version = time.time_ns() // 1_000
    queue.enqueue(
        "jobs.apply_items",
        args=(connector_id, stream, items, version),
        job_id=job_id,
        result_ttl=0,
        retry=Retry(max=3),
    )


async def ingest(request: Request) -> Response:
    """Accept a batch; RQ's client waits for Redis in a thread."""
    connector_id = await connector_of(request)
    if connector_id is None:
        return JSONResponse({"status": "error"}, 401, {"WWW-Authenticate": "Bearer"})
    try:
        stream, items = checked(await request.body())
    except Refused as refusal:
        return JSONResponse({"status": "error", "error": {"message": str(refusal)}}, 409)
    job_id = str(uuid4())
    await run_in_threadpool(enqueue, job_id, connector_id, stream, items)
    return JSONResponse({"status": "accepted", "requestId": job_id, "itemsReceived": len(items)}, 202)


app = Starlette(routes=[Route("/api/ingest", ingest, methods=["POST"])], max_body_size=MAX_BODY)
