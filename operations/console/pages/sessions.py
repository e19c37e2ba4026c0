"""Sessions of operators' browsers: begin, find, list and revoke.

The cookie holds a random secret, of which Postgres stores a digest only. While Postgres is unavailable, a session that
this process has checked within the last minutes may still read: an outage is when operators need the pages most.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from operations.roles import Role
from shared.postgres.connections import Connection
from shared.postgres.queries import sql

#: Life of a session in seconds, and time without a request after which it ends.
LIFE_SECONDS: Final = 12 * 3_600
IDLE_SECONDS: Final = 2 * 3_600
#: Time for which a session that was checked may read without Postgres, in seconds.
_REMEMBERED_SECONDS: Final = 900
_REMEMBERED: Final = 500
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in browser."""

    session_id: int
    operator_id: int
    name: str
    role: Role
    #: The operator has to choose a password first.
    must_change: bool
    #: What the last form did, to be said once.
    notice: str | None
    #: Proves that a form came from one of our pages.
    token: str


def begin(connection: Connection, operator_id: int, *, address: str, browser: str) -> str:
    """Begin a session; return the secret for its cookie."""
    secret = secrets.token_urlsafe(32)
    values = {
        "operator_id": operator_id,
        "digest": _digest(secret),
        "seconds": LIFE_SECONDS,
        "address": address[:_LONGEST_TEXT],
        "browser": browser[:_LONGEST_TEXT].replace("\0", ""),
    }
    connection.execute(sql("insert_session"), values)
    return secret


def token_of(secret: str) -> str:
    """Return the token that the forms of a session carry: its secret can't be derived from it."""
    return hmac.digest(secret.encode(), b"form", "sha256").hex()


def select_sessions(connection: Connection, operator_id: int | None = None) -> list[dict[str, Any]]:
    """Return the sessions of an operator, or of all."""
    return connection.execute(sql("select_sessions"), {"operator_id": operator_id}).fetchall()


def end(connection: Connection, session_id: int, operator_id: int | None = None) -> bool:
    """End a session, of this operator if one is given; return whether there was one."""
    values = {"session_id": session_id, "operator_id": operator_id}
    return connection.execute(sql("delete_session"), values).rowcount == 1


def end_others(connection: Connection, session: Session) -> int:
    """End the other sessions of the operator; return their number."""
    values = {"session_id": session.session_id, "operator_id": session.operator_id}
    return connection.execute(sql("delete_other_sessions"), values).rowcount


def say_next(connection: Connection, session: Session, notice: str | None) -> None:
    """Store what the next page says."""
    connection.execute(sql("set_notice"), {"session_id": session.session_id, "notice": notice})


class Sessions:
    """Finds the sessions of cookies."""

    def __init__(self) -> None:
        self._checked: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()

    def find(self, connection: Connection, secret: str) -> Session | None:
        """Return the session of a cookie, None if it has ended."""
        digest = _digest(secret)
        rows = connection.execute(sql("select_session"), {"digest": digest, "idle_seconds": IDLE_SECONDS}).fetchall()
        self._checked.pop(digest, None)
        if not rows:
            return None
        session = Session(**{**rows[0], "role": Role(rows[0]["role"]), "token": token_of(secret)})
        self._checked[digest] = (time.monotonic(), session)
        if len(self._checked) > _REMEMBERED:
            self._checked.popitem(last=False)
        return session

    def remembered(self, secret: str) -> Session | None:
        """Return the session of a cookie if it was checked a short time ago."""
        checked_at, session = self._checked.get(_digest(secret), (0.0, None))
        is_fresh = session is not None and time.monotonic() - checked_at < _REMEMBERED_SECONDS
        return dataclasses.replace(session, notice=None) if session and is_fresh else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
