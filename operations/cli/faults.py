"""What can be expected to go wrong, as one sentence for the person at the shell. Never with a password in it."""

from __future__ import annotations

from typing import Final

import psycopg
from redis.exceptions import RedisError

from operations.connectors import ConnectorError
from operations.dead_letters import RetryError
from shared.credentials.sync import LoadingError, NotMigratedError
from shared.postgres.connections import is_missing_schema, is_transient
from shared.postgres.migrations import MigrationError
from shared.process.endpoints import EnginesError
from shared.process.settings import SettingError
from shared.redis.connections import UNAVAILABLE


class CommandError(Exception):
    """A command can't do what was asked; the message is the sentence to show."""


#: Their messages are sentences already.
_SENTENCES: Final = (
    CommandError,
    ConnectorError,
    EnginesError,
    LoadingError,
    MigrationError,
    NotMigratedError,
    RetryError,
    SettingError,
)
EXPECTED: Final = (*_SENTENCES, psycopg.Error, RedisError)


def sentence(fault: Exception) -> str:
    """What to show of one of EXPECTED."""
    if isinstance(fault, psycopg.Error):
        if is_missing_schema(fault):
            return str(NotMigratedError())
        return _told("Postgres", fault, not_now=is_transient(fault))
    if isinstance(fault, RedisError):
        return _told("Redis", fault, not_now=isinstance(fault, UNAVAILABLE))
    return str(fault)


def _told(engine: str, fault: Exception, *, not_now: bool) -> str:
    first_line = str(fault).strip().partition("\n")[0].rstrip(" .") or type(fault).__name__
    verdict = "can't be used now" if not_now else "refused"
    return f"{engine} {verdict}: {first_line}."
