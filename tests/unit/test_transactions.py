"""What a transaction begins with, and which errors end a session."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from shared.postgres.errors import AnswerTimeoutError, NoWritesError, UnusableDatabaseError, ends_session, is_transient
from shared.postgres.suitability import data_loss, require_suitable
from shared.postgres.transactions import LIMITS, opening, search_path_of


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("", "public"),
        ("-csearch_path=mine", "mine"),
        ("-c search_path=mine -c work_mem=1MB", "mine"),
        ("--search_path=mine", "mine"),
        (r"-c search_path=mine\,\ \"other\"", 'mine, "other"'),
        ("-c search_path=first -c search_path=last", "last"),
        ("-c search_path=", ""),
        ("-c application_name=search_path=no -d 1", "public"),
    ],
)
def test_the_search_path_of_an_address_wins_over_the_roles(options: str, path: str) -> None:
    assert search_path_of(options, "public") == (("search_path", path),)


def test_parameters_are_quoted() -> None:
    assert b"('search_path', 'it''s')" in opening((*LIMITS, ("search_path", "it's")))


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (errors.ReadOnlySqlTransaction(), True),
        (NoWritesError(), True),
        (errors.AdminShutdown(), True),
        (errors.CrashShutdown(), True),
        (errors.CannotConnectNow(), True),
        (errors.IdleSessionTimeout(), True),
        (errors.IdleInTransactionSessionTimeout(), True),
        (errors.TransactionTimeout(), True),
        (errors.ConnectionFailure(), True),
        (errors.ProtocolViolation(), True),
        (errors.InFailedSqlTransaction(), True),
        (psycopg.OperationalError("the connection is lost"), True),
        (AnswerTimeoutError(), True),
        (PoolTimeout(), False),
        (UnusableDatabaseError(), False),
        (errors.LockNotAvailable(), False),
        (errors.QueryCanceled(), False),
        (errors.DiskFull(), False),
        (errors.NumericValueOutOfRange(), False),
        (errors.InsufficientPrivilege(), False),
    ],
)
def test_only_errors_of_the_session_end_it(error: psycopg.Error, *, ends: bool) -> None:
    assert ends_session(error) == ends


def test_a_database_that_never_can_be_used_is_no_fault_of_the_data() -> None:
    assert is_transient(UnusableDatabaseError())


class _Server:
    """Answers with its settings."""

    def __init__(self, **settings: object) -> None:
        self._settings = {"version": 180_006, "fsync": "on", "full_page_writes": "on", **settings}

    def execute(self, _query: bytes) -> _Server:
        return self

    def fetchall(self) -> list[dict[str, object]]:
        return [self._settings]


@pytest.mark.parametrize("settings", [{"version": 140_011}, {"fsync": "off"}, {"full_page_writes": "off"}])
def test_an_unsuitable_server_is_refused_unless_only_its_loss_is_accepted(settings: dict[str, object]) -> None:
    server: Any = _Server(**settings)
    with pytest.raises(UnusableDatabaseError):
        require_suitable(server, accept_data_loss=False)
    with pytest.raises(UnusableDatabaseError) if "version" in settings else nullcontext():
        require_suitable(server, accept_data_loss=True)


def test_each_setting_that_loses_commits_is_named() -> None:
    assert data_loss({"fsync": "on", "full_page_writes": "on"}) == []
    (sentence,) = data_loss({"fsync": "off", "full_page_writes": "on"})
    assert "`fsync = on`" in sentence
    assert len(data_loss({"fsync": "off", "full_page_writes": "off"})) == 2
