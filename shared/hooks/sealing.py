"""Seal signing secrets with AES-256-GCM, so that neither Postgres, Redis nor a backup of them tells one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Length of a nonce in bytes, as GCM wants it; random, since a key seals far fewer than 2^32 secrets.
_NONCE_BYTES: Final = 12


class SealError(Exception):
    """No key opens a secret: it was sealed with another key, or for another hook."""


class Keyring:
    """Keys of 32 bytes: the first one seals, each of them opens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def __bool__(self) -> bool:
        """Return False if there is no key: hooks are off then."""
        return bool(self._ciphers)

    def seal(self, secret: str, hook_id: str) -> bytes:
        """Return a secret that only this keyring opens, and only for this hook."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), hook_id.encode())

    def open(self, sealed: bytes, hook_id: str) -> str:
        """Return a sealed secret. Raises SealError."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, hook_id.encode()).decode()
            except (InvalidTag, ValueError):  # a ValueError if it is too short to be sealed
                continue
        raise SealError
