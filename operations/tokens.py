"""Tokens with which programs use the operations API: `it_<token id>_<secret>`, of which only a digest is stored.

A slow hash or a limit of attempts would add nothing, since a random secret of 40 characters can't be guessed. A limit
would let one program lock out all others that share its proxy's address.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import errors

from operations.audit import Actor, State, local_actor, recorded_transaction
from operations.errors import ConflictError, NotFoundError
from operations.roles import Role
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.rfc3339 import rfc3339

_ID_BYTES: Final = 6
_SECRET_CHARACTERS: Final = 40
_ALPHABET: Final = string.ascii_letters + string.digits
_FORM: Final = re.compile(rf"it_([0-9a-f]{{12}})_([A-Za-z0-9]{{{_SECRET_CHARACTERS}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A token that a request has presented."""

    token_id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made; `text` is shown once and not stored."""

    token_id: str
    expires_at: datetime | None
    text: str

    def __repr__(self) -> str:
        return f"NewToken(token_id={self.token_id!r})"


def is_token(text: str) -> bool:
    """Return whether a text has the form of a token."""
    return _FORM.fullmatch(text) is not None


def check_token(connection: Connection, text: str) -> Token | None:
    """Return the token in `text`, if it is valid now."""
    match = _FORM.fullmatch(text)
    rows = connection.execute(sql("select_token"), {"token_id": match[1]}).fetchall() if match else []
    if not match or not rows or not hmac.compare_digest(rows[0]["digest"], _digest(match[2])):
        return None
    return Token(rows[0]["token_id"], rows[0]["name"], Role(rows[0]["role"]))


def select_tokens(connection: Connection, name: str | None = None) -> list[dict[str, Any]]:
    """Return all tokens, or the one with a name, without digests."""
    return connection.execute(sql("select_tokens"), {"name": name}).fetchall()


class Tokens:
    """Changes of tokens."""

    def __init__(self, connection: Connection, actor: Actor | None = None) -> None:
        self._connection = connection
        self._actor = actor or local_actor()

    def create(self, name: str, role: Role, expires_seconds: int | None) -> NewToken:
        """Create a token, which is valid for some seconds; None: until it is revoked."""
        token_id, secret = (
            secrets.token_hex(_ID_BYTES),
            "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS)),
        )
        values = {"token_id": token_id, "name": name, "role": role.value, "seconds": expires_seconds}
        try:
            with self._recorded("token.create", name):
                made = self._connection.execute(sql("insert_token"), {**values, "digest": _digest(secret)}).fetchall()
        except errors.UniqueViolation:
            raise ConflictError(f"A token named {name} exists already.") from None
        return NewToken(token_id, made[0]["expires_at"], f"it_{token_id}_{secret}")

    def revoke(self, name: str) -> None:
        """Delete a token: it is refused from now on."""
        with self._recorded("token.revoke", name):
            if not self._connection.execute(sql("delete_token"), {"name": name}).rowcount:
                raise NotFoundError(f"There is no token {name}.")

    def _recorded(self, action: str, name: str) -> AbstractContextManager[None]:
        return recorded_transaction(self._connection, self._actor, action, lambda: self._state(name))

    def _state(self, name: str) -> State:
        return {
            f"token {row['name']}": {
                "tokenId": row["token_id"],
                "role": row["role"],
                "expiresAt": rfc3339(row["expires_at"]),
            }
            for row in select_tokens(self._connection, name)
        }


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
