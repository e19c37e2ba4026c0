"""The task: one submission, one transaction, one multi-row upsert."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from models import Item, Request, engine
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

app = Celery("ingest", broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://", 1))
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    # A task is acknowledged when it is done, and returned when its child process ends.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # Celery's guide to optimizing advises this for many short tasks.
    worker_prefetch_multiplier=64,
    # One connection for each thread of the API.
    broker_pool_limit=40,
    worker_hijack_root_logger=False,
)

_insert = insert(Item)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=[Item.connector_id, Item.stream, Item.id],
    set_={
        "name": _insert.excluded.name,
        "fields": _insert.excluded.fields,
        "tags": _insert.excluded.tags,
        "version": _insert.excluded.version,
        "updated_at": func.now(),
    },
    where=Item.version < _insert.excluded.version,
)


@app.task(bind=True, autoretry_for=(OperationalError,), retry_backoff=True, max_retries=10)
def apply_items(
    self: Task[..., None], connector_id: int, stream: str, items: list[dict[str, Any]], version: int
) -> None:
    """Apply a submission once; the last one of several items with one id counts."""
    same = {"connector_id": connector_id, "stream": stream, "version": version}
    # In the order of their ids, so that two tasks never wait for each other.
    rows = [{**same, **item} for _, item in sorted({item["id"]: item for item in items}.items())]
    with Session(engine()) as session, session.begin():
        request = insert(Request).values(id=self.request.id, connector_id=connector_id, items=len(items))
        is_new = session.execute(request.on_conflict_do_nothing().returning(Request.id)).scalar()
        if is_new and rows:
            session.execute(_UPSERT, rows)
