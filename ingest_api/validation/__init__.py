"""Validate request bodies by the declarations of their kinds.

`fast` accepts a batch that is not long, or a chunk of a long one; `exact` reads long ones chunk by chunk, and explains
what `fast` does not accept.
"""

from __future__ import annotations

from typing import Final

from ingest_api.validation.exact import check_batch, check_name
from ingest_api.validation.fast import fast_validator
from ingest_api.validation.json_text import depth_refusal
from ingest_api.validation.objects import check_heartbeat, check_webhook, read_configuration
from shared.entry import Meta
from shared.json_chunks import CHUNK_BYTES
from shared.kinds import KINDS
from shared.kinds.items import STREAM
from shared.kinds.shapes import AnyObject, Kind, OneItem, Shape

__all__ = ["read_configuration", "validate"]

#: Made when the process starts, not by the first request: compiling their patterns takes long (decision 0031).
_FAST: Final = {kind.name: fast_validator(kind.body) for kind in KINDS.values() if isinstance(kind.body, Shape)}


def validate(kind: Kind, meta: Meta, body: bytes) -> int:
    """Return the number of items or entries in a body. Raises ApiError. `meta`: what the URL says of it."""
    try:
        match kind.body:
            case Shape():
                count = _FAST[kind.name].count_batch(body) if len(body) <= CHUNK_BYTES else None
                return check_batch(body, kind.body) if count is None else count
            case OneItem():
                check_name(meta.stream, None, STREAM)
                return check_webhook(body, kind.body, meta.id_field)
            case AnyObject():
                check_heartbeat(body)
                return 0
    except RecursionError:
        raise depth_refusal(None) from None
