"""Refusals of the operations API: an error's status, code and sentence."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec
import psycopg
import structlog
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from operations.errors import ChangedMeanwhileError, ConflictError, NotFoundError
from shared.causes import NotNowError, SentenceError, cause_of, is_expected

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """A request is refused."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:
        return self.message


UNAUTHORIZED: Final = Refusal(401, "unauthorized", "Send a valid token: `Authorization: Bearer it_…`.")
TOO_LARGE: Final = Refusal(413, "body_too_large", "The body is too large.")
#: Status and code of an error, and its sentence if its own is none. The first that an error is an instance of counts.
_KNOWN: Final[tuple[tuple[type[Exception], int, str, str], ...]] = (
    (NotFoundError, 404, "not_found", ""),
    (ChangedMeanwhileError, 412, "changed_meanwhile", ""),
    (ConflictError, 409, "conflict", ""),
    (NotNowError, 503, "unavailable", ""),
    (SentenceError, 400, "invalid_request", ""),
    (msgspec.MsgspecError, 400, "invalid_request", ""),
    (psycopg.DataError, 400, "invalid_request", "A value is none that Postgres can hold."),
)
CODES: Final = tuple(
    sorted(
        {code for _, _, code, _ in _KNOWN}
        | {"unauthorized", "forbidden", "body_too_large", "method_not_allowed", "internal_error"}
    )
)


def refusal_of(error: Exception) -> Refusal:
    """Return how an error is told; one that is not expected is logged."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code)
        return Refusal(phrase, phrase.name.lower(), f"{phrase.phrase}.")
    for kind, status, code, message in _KNOWN:
        if isinstance(error, kind):
            return Refusal(status, code, message or f"{str(error).rstrip('.')}.")
    if isinstance(error, psycopg.Error | RedisError) and is_expected(error):
        return Refusal(503, "unavailable", cause_of(error))
    log.error("operations_request_failed", exc_info=error)
    return Refusal(500, "internal_error", "The request failed; the log says why.")
