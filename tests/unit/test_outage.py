"""Causes in words, without secrets; an outage in few lines."""

from __future__ import annotations

import psycopg
import pytest
import structlog
from psycopg import errors
from psycopg_pool import PoolTimeout
from redis import exceptions

from shared.causes import cause_of, detail_of, is_expected
from shared.credentials.sync import NotMigratedError
from shared.outage import Outage, Repeats
from tests.unit.clock import Clock

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            exceptions.ConnectionError(
                "Error 1 connecting to 10.0.0.9:6380. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
                "self-signed certificate (_ssl.c:1006)."
            ),
            "certificate is not trusted (self-signed certificate)",
        ),
        (exceptions.ConnectionError("Error 1 connecting to h:1. [SSL: WRONG_VERSION_NUMBER] wrong"), "not speak TLS"),
        (exceptions.ConnectionError("Error 111 connecting to 10.0.0.9:1. Connection refused."), "nothing listens"),
        (exceptions.ConnectionError("Error 2 connecting to /nope. No such file or directory."), "nothing listens"),
        (exceptions.ConnectionError("Error -2 connecting to h:1. Name or service not known."), "host name is unknown"),
        (exceptions.ConnectionError("Connection closed by server."), "ended the connection"),
        (exceptions.AuthenticationError("invalid username-password pair or user is disabled."), "the password"),
        (exceptions.AuthenticationError("Authentication required."), "asks for a password"),
        (exceptions.NoPermissionError("User ingest has no permissions to run the 'xadd' command"), "'xadd'"),
        (exceptions.ResponseError("DB index is out of range"), "no database"),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "still reading"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "replica"),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "full"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "fewer replicas"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "its disk"),
        (exceptions.TimeoutError("Timeout reading from 10.0.0.9:6379"), "does not answer"),
        (exceptions.ConnectionError("max number of clients reached"), "no connections left"),
        (exceptions.InvalidResponse('Protocol error, got "H" as reply type byte'), "no Redis"),
        (
            psycopg.OperationalError(
                'connection failed: connection to server at "10.0.0.9", port 1 failed: Connection refused\n\tIs …'
            ),
            "nothing listens",
        ),
        (
            psycopg.OperationalError(
                'connection to server at "10.0.0.9", port 1 failed: FATAL:  password authentication failed for user "u"'
            ),
            "refuses the user or the password",
        ),
        (psycopg.OperationalError('… failed: FATAL:  database "wrong" does not exist'), "no database of the name"),
        (psycopg.OperationalError("failed to resolve host '10.0.0.9': [Errno -2] Name or"), "host name is unknown"),
        (psycopg.OperationalError("SSL error: certificate verify failed"), "certificate is not trusted"),
        (psycopg.OperationalError("server does not support SSL, but SSL was required"), "not speak TLS"),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), "no connections left"),
        (errors.ConnectionTimeout("connection timeout expired"), "does not answer"),
        (errors.InsufficientPrivilege("permission denied for table lanes"), "permission denied for table lanes"),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"), "takes no writes"),
        (errors.UndefinedTable('relation "lanes" does not exist'), "`ingestctl migrate`"),
        (PoolTimeout("couldn't get a connection after 2.00 sec"), "came free"),
        (NotMigratedError(), "`ingestctl migrate`"),
        (
            psycopg.ProgrammingError(f'missing "=" after "postgres://u:{SECRET}@10.0.0.9 db" in connection string'),
            "DATABASE_URL",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_cause_is_a_sentence_without_address_or_secret(error: Exception, words: str) -> None:
    cause = cause_of(error)

    assert words in cause
    assert cause.endswith(".")
    assert "10.0.0.9" not in cause
    assert SECRET not in cause + detail_of(error)
    assert is_expected(error)


def test_what_no_engine_explains_is_unexpected() -> None:
    assert not is_expected(KeyError("x"))
    assert not is_expected(exceptions.ResponseError("WRONGTYPE Operation against a key"))
    assert not is_expected(errors.SyntaxError("at end of input"))
    assert not is_expected(errors.UniqueViolation("duplicate key"))


def test_credentials_in_an_address_are_not_told() -> None:
    assert SECRET not in detail_of(RuntimeError(f"redis://:{SECRET}@h:1/0 is wrong"))


AWAY = exceptions.ConnectionError("Error 111 connecting to h:1. Connection refused.")


def test_an_outage_is_logged_at_once_then_ever_more_rarely_and_at_its_end() -> None:
    clock = Clock()
    outage = Outage("redis_lost", clock=clock)
    with structlog.testing.capture_logs() as lines:
        for second in range(2 * 3600):
            clock.now = second / 2
            outage.report(AWAY, lane=3)
        outage.over()
        outage.over()

    *during, end = lines
    assert [line.get("seconds", 0) for line in during] == [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560]
    assert during[1]["times"] == 21
    assert {(line["event"], line["log_level"], line["lane"]) for line in during} == {("redis_lost", "warning", 3)}
    assert during[0]["cause"] == "Redis can't be used now: nothing listens at its address."
    assert (end["event"], end["of"], end["seconds"]) == ("outage_over", "redis_lost", 3600)


def test_another_cause_is_logged_at_once() -> None:
    outage = Outage("redis_lost", clock=Clock())
    with structlog.testing.capture_logs() as lines:
        for error in (AWAY, AWAY, exceptions.BusyLoadingError("loading"), AWAY):
            outage.report(error)

    assert [line["detail"] for line in lines] == [detail_of(AWAY), "loading"]


def test_an_outage_that_returns_at_once_is_the_same_one_and_later_another() -> None:
    clock = Clock()
    outage = Outage("redis_lost", clock=clock)
    with structlog.testing.capture_logs() as lines:
        for clock.now in (0.0, 1.0, 2.0, 10.0):
            outage.report(AWAY)
            outage.over()

    assert [line["event"] for line in lines] == ["redis_lost", "outage_over"] * 2, "an end follows each beginning"


def test_an_unexpected_error_is_logged_whole() -> None:
    outage = Outage("sweep_failed", clock=Clock())
    with structlog.testing.capture_logs() as lines:
        outage.report(KeyError("surprise"))

    [line] = lines
    assert line["log_level"] == "error"
    assert isinstance(line["exc_info"], KeyError)


def test_what_is_remembered_is_bounded() -> None:
    repeats = Repeats(Clock())
    for number in range(1_000):
        assert repeats.due(f"message {number}") == {}

    assert repeats.due("message 999") is None
    assert repeats.due("message 1") == {}, "forgotten"
