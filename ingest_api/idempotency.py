"""`Idempotency-Key`: a repeat within 24 hours is answered with the first request id, and nothing is appended twice.

The append script stores the key in the same atomic step that appends, so only one of two racing repeats appends. The
Redis key belongs to the connector and not to the credential, so it outlives a rotation.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ingest_api.append_script import Idempotency
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from shared.redis.names import lane_keys

FORM: Final = re.compile(rb"[\x21-\x7e]{1,255}")


def read_idempotency_key(context: RequestContext) -> bytes | None:
    """Return the request's key, if it has one. Raises ApiError(invalid_idempotency_key) if it is malformed."""
    key = context.header(b"idempotency-key")
    if key is not None and not FORM.fullmatch(key):
        raise ApiError(ErrorCode.INVALID_IDEMPOTENCY_KEY)
    return key


def idempotency_of(key: bytes | None, fingerprint: str, *, connector_id: int, lane: int) -> Idempotency | None:
    """Return what the append script compares of a submission that was sent with `key`."""
    if key is None:
        return None
    return Idempotency(name_of(key, connector_id=connector_id, lane=lane), fingerprint)


def name_of(key: bytes, *, connector_id: int, lane: int) -> str:
    """Return the Redis key of what a lane knows of an idempotency key."""
    return lane_keys(lane).idempotency(connector_id, hashlib.sha256(key).hexdigest())
