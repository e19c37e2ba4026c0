"""The form of a credential: `ik_<key id>_<secret>`, 12 hex digits and 40 letters or digits from a cryptographic source.

Only a SHA-256 of the secret is stored. A slow hash would add nothing, since a random secret cannot be guessed, and
would cost its time at each request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from typing import Final

import msgspec

from shared.redis.names import lane_of

_KEY_ID_BYTES: Final = 6
_SECRET_CHARACTERS: Final = 40
_ALPHABET: Final = string.ascii_letters + string.digits
#: Form of a credential; its groups are the key id and the secret.
FORM: Final = re.compile(rf"ik_([0-9a-f]{{12}})_([A-Za-z0-9]{{{_SECRET_CHARACTERS}}})", re.ASCII)


class Presented(msgspec.Struct, frozen=True):
    """A credential as a request presents it."""

    key_id: str
    #: SHA-256 of the secret, hex; of a hook, its digest.
    digest: str
    #: Key id whose token buckets are charged, if not its own: a hook shares those of its connector's credential.
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential that was just made; `text` is shown once and not stored."""

    key_id: str
    #: SHA-256 of the secret.
    digest: bytes
    text: str

    def __repr__(self) -> str:
        return f"NewCredential(key_id={self.key_id!r})"


def parse_credential(text: str) -> Presented | None:
    """Return the credential in `text`, or None if it does not have the form of one."""
    match = FORM.fullmatch(text)
    if match is None:
        return None
    return Presented(match[1], hashlib.sha256(match[2].encode()).hexdigest())


def new_credential(*, lane: int, lanes: int) -> NewCredential:
    """Return a random credential whose key id falls on `lane`, so that a rotation keeps the order of submissions."""
    key_id = secrets.token_hex(_KEY_ID_BYTES)
    while lane_of(key_id, lanes) != lane:
        key_id = secrets.token_hex(_KEY_ID_BYTES)
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
    return NewCredential(key_id, hashlib.sha256(secret.encode()).digest(), f"ik_{key_id}_{secret}")
