"""Browsers that have logged in with a name before: a cookie proves it, so that strangers can't lock them out.

The proof is derived from the stored password: it is worth nothing without it, and nothing after another one was chosen.
It opens no session.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from operations.operators import stored_password
from shared.postgres.connections import Connection

COOKIE: Final = "known"
#: Time for which a browser that is not used stays known, in seconds.
LIFE_SECONDS: Final = 90 * 86_400


def new_proof(connection: Connection, name: str) -> str:
    """Return a proof for a browser that has logged in."""
    return _proof(stored_password(connection, name) or "", name, secrets.token_urlsafe(12))


def known_browser(connection: Connection, name: str, proof: str) -> str | None:
    """Return the browser that a proof is of, None if it proves nothing."""
    browser = proof.partition(".")[0]
    stored = stored_password(connection, name) if browser else None
    is_proven = stored is not None and hmac.compare_digest(_proof(stored, name, browser).encode(), proof.encode())
    return browser if is_proven else None


def _proof(stored: str, name: str, browser: str) -> str:
    return f"{browser}.{hmac.digest(stored.encode(), f'{browser} {name}'.encode(), 'sha256').hex()}"
