"""The routes that submit: what each body must be, and what its sender is told of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.types import Scope

from ingest_api.context import query_parameter
from ingest_api.submissions import SubmissionKind
from ingest_api.validation.fast import (
    validate_heartbeat,
    validate_items,
    validate_log_entries,
    validate_stream,
    validate_webhook,
)
from shared.entry import COUNTED, Meta, encode_meta


def _kind(meta: Meta, validate: Callable[[bytes], int | None], *, body_optional: bool = False) -> SubmissionKind:
    return SubmissionKind(encode_meta(meta), COUNTED.get(meta.kind), validate, body_optional=body_optional)


_ITEMS = _kind(Meta("items"), validate_items)
_LOG = _kind(Meta("log"), validate_log_entries)
_HEARTBEAT = _kind(Meta("heartbeat"), validate_heartbeat, body_optional=True)


def items(_scope: Scope) -> SubmissionKind:
    """Of POST /api/ingest."""
    return _ITEMS


def log(_scope: Scope) -> SubmissionKind:
    """Of POST /api/ingest/log."""
    return _LOG


def heartbeat(_scope: Scope) -> SubmissionKind:
    """Of POST /api/ingest/heartbeat."""
    return _HEARTBEAT


def webhook(scope: Scope) -> SubmissionKind:
    """Of POST /api/webhook/{stream}, whose query may name an `idField`."""
    stream, id_field = scope["path_params"]["stream"], query_parameter(scope, "idField", "id")
    meta = Meta("webhook", stream=stream, id_field=id_field)
    return _kind(meta, partial(_validate_webhook, stream, id_field))


def _validate_webhook(stream: str, id_field: str, body: bytes) -> int:
    validate_stream(stream)
    validate_webhook(body, id_field)
    return 1
