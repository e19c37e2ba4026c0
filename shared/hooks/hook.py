"""A hook: its id, and what an API process must know of it.

Redis holds a hook beside its connector's credential and in the same form (`shared/credentials/sync.py`), with `Hook` in
JSON. The append script compares the hook's digest, a random value that is replaced when a right is taken away, in the
step that appends.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

import msgspec

from shared.hooks.schemes import SCHEMES
from shared.redis.names import lane_of

#: Form of a hook's id: not that of a key id, so that no bearer credential can name a hook.
FORM: Final = re.compile(r"hk_[0-9a-f]{32}", re.ASCII)
#: Default time between a time stamp that was signed and now, in seconds; the senders' own libraries allow the same.
DEFAULT_TOLERANCE: Final = 300
#: Secrets of one hook that may be valid at the same time; each costs a pass over the body.
MAX_SECRETS: Final = 4


class SealedSecret(msgspec.Struct, frozen=True, rename="camel"):
    """One signing secret, encrypted."""

    sealed: bytes
    #: Seconds since 1970; None: until it is rotated.
    expires_at: float | None = None


class Hook(msgspec.Struct, frozen=True, rename="camel"):
    """What is needed to accept a delivery."""

    scheme: str
    stream: str
    id_field: str
    #: Seconds that a signed time stamp may be away from now.
    tolerance: int
    #: Key id whose token bucket deliveries are charged to: that of the connector's credential.
    bucket: str
    secrets: tuple[SealedSecret, ...]

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"There is no scheme {self.scheme}.")


def new_hook_id(*, lane: int, lanes: int) -> str:
    """Return a random id that falls on `lane`: deliveries keep their order among the connector's submissions."""
    while lane_of(hook_id := f"hk_{secrets.token_hex(16)}", lanes) != lane:
        pass
    return hook_id


def path_of(hook_id: str) -> str:
    """Return the path of the URL that the sender posts to."""
    return f"/api/hooks/{hook_id}"
