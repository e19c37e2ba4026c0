"""Expected errors, each as one sentence for the operator. No sentence contains a password."""

from __future__ import annotations

from typing import Final

import psycopg
from redis.exceptions import RedisError

from shared.causes import SentenceError, cause_of, detail_of, is_expected
from shared.process.settings import SettingError


class CommandError(SentenceError):
    """A command can't do what was asked."""


EXPECTED: Final = (SentenceError, SettingError, psycopg.Error, RedisError)


def sentence(error: Exception) -> str:
    """Return the sentence to show for one of EXPECTED."""
    if isinstance(error, SentenceError) or not isinstance(error, psycopg.Error | RedisError):
        return str(error)
    if is_expected(error):
        cause, detail = cause_of(error), detail_of(error)
        is_told = detail in cause or isinstance(error, psycopg.ProgrammingError)
        return cause if is_told else f"{cause.rstrip('.')} ({detail})."
    return f"{'Redis' if isinstance(error, RedisError) else 'Postgres'} refused: {detail_of(error)}."
