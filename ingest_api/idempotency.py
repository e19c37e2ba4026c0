"""`Idempotency-Key`: a repeat within a day is answered with the first one's request id, and nothing is appended twice.

The append script remembers the key in the step that appends, so however two repeats race, one appends. The name in
Redis is the connector's, not the credential's: it outlives a rotation.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ingest_api.append import Idempotency
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from shared.redis.names import lane_keys

FORM: Final = re.compile(rb"[\x21-\x7e]{1,255}")


def require_form(context: RequestContext) -> bytes | None:
    """The request's key, if it has one. Raises ApiError where it has another form than a key's."""
    key = context.header(b"idempotency-key")
    if key is not None and not FORM.fullmatch(key):
        raise ApiError(ErrorCode.INVALID_IDEMPOTENCY_KEY)
    return key


def idempotency_of(key: bytes, *, connector_id: int, lane: int, meta: bytes, body: bytes) -> Idempotency:
    """What the append script is told of a key and the submission that came with it."""
    name = lane_keys(lane).idempotency(connector_id, hashlib.sha256(key).hexdigest())
    return Idempotency(name, hashlib.sha256(meta + b"\0" + body).hexdigest())
