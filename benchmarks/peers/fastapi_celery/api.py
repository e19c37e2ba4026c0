"""The API: checks the key, validates the body, queues a task."""

from __future__ import annotations

import hashlib
import time
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from models import Connector, engine
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from tasks import apply_items

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Values = Annotated[dict[Name, str | int | float | bool | None], Field(max_length=200)]


class ItemIn(BaseModel):
    """An item's state."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    name: Annotated[str | None, StringConstraints(max_length=1024)] = None
    fields: Values = {}
    tags: Values = {}


class Submission(BaseModel):
    """A batch of items."""

    model_config = ConfigDict(extra="forbid")

    stream: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
    items: list[ItemIn]


class Accepted(BaseModel):
    """The answer of a submission that was queued."""

    status: str
    requestId: str  # noqa: N815 - the contract's name
    itemsReceived: int  # noqa: N815 - the contract's name


app = FastAPI()
bearer = HTTPBearer()
connectors: dict[str, int] = {}


def load_connectors() -> None:
    """Load all keys."""
    with Session(engine()) as session:
        connectors.update(
            {key_hash: id_ for id_, key_hash in session.execute(select(Connector.id, Connector.key_hash))}
        )


async def connector_of(credential: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> int:
    """Return the connector of a key, from memory or from Postgres."""
    key_hash = hashlib.sha256(credential.credentials.encode()).hexdigest()
    if key_hash not in connectors:
        await run_in_threadpool(load_connectors)
    if key_hash not in connectors:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return connectors[key_hash]


@app.post("/api/ingest", status_code=202)
def ingest(submission: Submission, connector_id: Annotated[int, Depends(connector_of)]) -> Accepted:
    """Accept a batch, in a thread: `delay` waits for Redis, which answers when the task is on disk."""
    version = time.time_ns() // 1_000
    items = submission.model_dump()["items"]
    task = apply_items.delay(connector_id, submission.stream, items, version)
    return Accepted(status="accepted", requestId=task.id, itemsReceived=len(items))
