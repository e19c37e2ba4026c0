"""Validate request bodies by the declarations of their kinds: a fast way to accept, and an exact one that explains."""

from __future__ import annotations

from typing import Final

from ingest_api.validation.exact import check_batch, check_name
from ingest_api.validation.fast import fast_validator
from ingest_api.validation.json_text import depth_refusal
from ingest_api.validation.objects import check_heartbeat, check_webhook, read_configuration
from shared.entry import Meta
from shared.kinds import KINDS
from shared.kinds.items import STREAM
from shared.kinds.shapes import AnyObject, Kind, OneItem, Shape

__all__ = ["read_configuration", "validate"]

#: Bytes of a body that is decoded whole; a longer one is read a chunk at a time.
_DECODED_WHOLE_BYTES: Final = 262_144
#: Made when the process starts, not by the first request: it takes 140 ms to compile their patterns.
_FAST: Final = {kind.name: fast_validator(kind.body) for kind in KINDS.values() if isinstance(kind.body, Shape)}


def validate(kind: Kind, meta: Meta, body: bytes) -> int:
    """Return the number of items or entries in a body. Raises ApiError. `meta`: what the URL says of it."""
    try:
        match kind.body:
            case Shape():
                count = _FAST[kind.name].count(body) if len(body) <= _DECODED_WHOLE_BYTES else None
                return check_batch(body, kind.body) if count is None else count
            case OneItem():
                check_name(meta.stream, None, STREAM)
                return check_webhook(body, kind.body, meta.id_field)
            case AnyObject():
                check_heartbeat(body)
                return 0
    except RecursionError:
        raise depth_refusal(None) from None
