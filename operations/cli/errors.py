"""Expected errors, each as one sentence for the operator. No sentence contains a password."""

from __future__ import annotations

from typing import Final

import psycopg
from redis.exceptions import RedisError

from operations.connectors import ConnectorError
from operations.dead_letters import RetryError
from shared.causes import cause_of, detail_of, is_expected
from shared.credentials.sync import LoadingError, NotMigratedError
from shared.postgres.errors import NoWritesError, UnusableDatabaseError
from shared.postgres.migrations import MigrationError
from shared.process.endpoints import EnginesError
from shared.process.settings import SettingError


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
    if isinstance(error, _SENTENCES) or not isinstance(error, psycopg.Error | RedisError):
        return str(error)
    if is_expected(error):
        cause, detail = cause_of(error), detail_of(error)
        is_told = detail in cause or isinstance(error, psycopg.ProgrammingError)
        return cause if is_told else f"{cause.rstrip('.')} ({detail})."
    return f"{'Redis' if isinstance(error, RedisError) else 'Postgres'} refused: {detail_of(error)}."
