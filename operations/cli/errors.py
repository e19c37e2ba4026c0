"""Expected errors, each as one sentence for the operator. No sentence contains a password."""

from __future__ import annotations

from typing import Final

import psycopg
from redis.exceptions import RedisError

from operations.connectors import ConnectorError
from operations.dead_letters import RetryError
from shared.credentials.sync import LoadingError, NotMigratedError
from shared.postgres.errors import NoWritesError, UnusableDatabaseError, is_missing_schema, is_transient
from shared.postgres.migrations import MigrationError
from shared.process.endpoints import EnginesError
from shared.process.settings import SettingError
from shared.redis.connections import UNAVAILABLE


class CommandError(Exception):
    """A command can't do what was asked; the message is the sentence to show."""


#: Errors whose message is the sentence to show.
_SENTENCES: Final = (
    CommandError,
    ConnectorError,
    EnginesError,
    LoadingError,
    MigrationError,
    NotMigratedError,
    NoWritesError,
    RetryError,
    SettingError,
    UnusableDatabaseError,
)
EXPECTED: Final = (*_SENTENCES, psycopg.Error, RedisError)


def sentence(error: Exception) -> str:
    """Return the sentence to show for one of EXPECTED."""
    if isinstance(error, _SENTENCES):
        return str(error)
    if isinstance(error, psycopg.Error):
        if is_missing_schema(error):
            return str(NotMigratedError())
        return _engine_sentence("Postgres", error, not_now=is_transient(error))
    if isinstance(error, RedisError):
        return _engine_sentence("Redis", error, not_now=isinstance(error, UNAVAILABLE))
    raise TypeError(type(error).__name__)


def _engine_sentence(engine: str, error: Exception, *, not_now: bool) -> str:
    first_line = str(error).strip().partition("\n")[0].rstrip(" .") or type(error).__name__
    status = "can't be used now" if not_now else "refused"
    return f"{engine} {status}: {first_line}."
