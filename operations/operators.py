"""Operators: people with a login to the operators' pages, and a role.

A new operator gets a one-time password, which is shown once and must be replaced at the first login.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from psycopg import errors

from operations.audit import Actor, State, local_actor, recorded_transaction
from operations.errors import ConflictError, NotFoundError
from operations.passwords import hash_password, is_password, one_time_password
from operations.roles import Role
from shared.causes import SentenceError
from shared.postgres.connections import Connection
from shared.postgres.queries import sql

#: Time for which a one-time password is taken, in seconds: three days.
_ONE_TIME_SECONDS: Final = 3 * 86_400
SHORTEST_PASSWORD: Final = 12
#: Maximum characters of a password: hashing takes time.
LONGEST_PASSWORD: Final = 200


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator who has logged in."""

    operator_id: int
    name: str
    role: Role
    #: The password was a one-time password: nothing is allowed but to replace it.
    must_change: bool


def check_password(connection: Connection, name: str, password: str) -> Operator | None:
    """Return the operator of this name, if this is the password; None takes as long."""
    rows = connection.execute(sql("select_password"), {"name": name}).fetchall()
    row = rows[0] if rows else {}
    if not is_password(password[: LONGEST_PASSWORD + 1], row.get("password")):
        return None
    return Operator(row["operator_id"], row["name"], Role(row["role"]), row["must_change"])


def stored_password(connection: Connection, name: str) -> str | None:
    """Return the hash of an operator's password, None if there is none that may be used now."""
    rows = connection.execute(sql("select_password"), {"name": name}).fetchall()
    return str(rows[0]["password"]) if rows else None


def select_operators(connection: Connection, name: str | None = None) -> list[dict[str, Any]]:
    """Return all operators, or the one with a name, without passwords."""
    return connection.execute(sql("select_operators"), {"name": name}).fetchall()


class Operators:
    """Changes of operators."""

    def __init__(self, connection: Connection, actor: Actor | None = None) -> None:
        self._connection = connection
        self._actor = actor or local_actor()

    def create(self, name: str, role: Role) -> str:
        """Create an operator; return the one-time password."""
        try:
            with self._recorded("operator.create", name):
                return self._give_password("insert_operator", name, role=role.value)
        except errors.UniqueViolation:
            raise ConflictError(f"An operator named {name} exists already.") from None

    def reset(self, name: str) -> str:
        """Replace an operator's password by a one-time password; return that."""
        with self._changing(name, "operator.reset"):
            return self._give_password("reset_operator", name)

    def change_role(self, name: str, role: Role) -> None:
        """Give an operator another role."""
        with self._changing(name, "operator.role"):
            self._connection.execute(sql("change_role"), {"name": name, "role": role.value})

    def change_password(self, name: str, password: str) -> None:
        """Store the password that an operator has chosen. Raises SentenceError if it is too short or too long."""
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise SentenceError(f"A password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
        values = {"name": name, "password": hash_password(password)}
        with self._changing(name, "operator.password"):
            self._connection.execute(sql("change_password"), values)

    def revoke(self, name: str) -> None:
        """Delete an operator, and with it the operator's sessions."""
        with self._changing(name, "operator.revoke"):
            self._connection.execute(sql("delete_operator"), {"name": name})

    @contextlib.contextmanager
    def _changing(self, name: str, action: str) -> Iterator[None]:
        with self._recorded(action, name):
            if not select_operators(self._connection, name):
                raise NotFoundError(f"There is no operator {name}.")
            yield

    def _give_password(self, query: str, name: str, **values: Any) -> str:
        password = one_time_password()
        values |= {"name": name, "password": hash_password(password), "seconds": _ONE_TIME_SECONDS}
        self._connection.execute(sql(query), values)
        return password

    def _recorded(self, action: str, name: str) -> AbstractContextManager[None]:
        return recorded_transaction(self._connection, self._actor, action, lambda: self._state(name))

    def _state(self, name: str) -> State:
        return {
            f"operator {row['name']}": {"role": row["role"], "passwordChangedAt": row["password_changed_at"]}
            for row in select_operators(self._connection, name)
        }
