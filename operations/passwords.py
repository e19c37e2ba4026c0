"""Passwords of operators, of which only an Argon2id hash is stored.

Memory and passes are the second choice of RFC 9106: 64 MiB, three passes. A hash names its own parameters, so that they
can be raised later.
"""

from __future__ import annotations

import os
import secrets
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_PASSES: Final = 3
_LANES: Final = 4
_MEMORY_KIB: Final = 64 * 1024
_ONE_TIME_BYTES: Final = 18


def hash_password(password: str) -> str:
    """Return the hash of a password, as a PHC string."""
    kdf = Argon2id(
        salt=os.urandom(_SALT_BYTES), length=_HASH_BYTES, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB
    )
    return kdf.derive_phc_encoded(password.encode())


def is_password(password: str, stored: str | None) -> bool:
    """Return whether a password is the one whose hash is stored. It takes as long if none is."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored or _hash_of_nothing())
    except InvalidKey:
        return False
    return stored is not None


def one_time_password() -> str:
    """Return a random password."""
    return secrets.token_urlsafe(_ONE_TIME_BYTES)


@lru_cache
def _hash_of_nothing() -> str:
    return hash_password(one_time_password())
