"""The judge of a soak is judged: where something is wrong, it says so, and where nothing is, it says nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.judge import Connection, judge_rows
from tests.system.look import Database
from tests.system.payloads import HEARTBEAT, batch_of, json_object, log_of, state, webhook_of
from tests.system.producers import Account, Line, Tally
from tests.system.stack import Stack

_OLD, _NEW, _UNHEARD = 1, 2, 3


@pytest.fixture(scope="module")
def account(stack: Stack) -> Account:
    """A connector whose submissions are all applied."""
    made = stack.connector("judged")
    account, tally = Account(made.id, "judged", 0, made.credential), Tally()
    submissions = [
        batch_of("agents", [("a", _OLD), ("b", 5)], packed=False),
        batch_of("agents", [("a", _NEW), ("c", 6), ("c", 7)], packed=True),
        webhook_of("hooked", 3),
        log_of("somebody", 3, packed=True),
        HEARTBEAT,
    ]
    line = Line(account, tally)
    for submission in submissions:
        account.ledger.accept(submission, line.attempt(stack.url, submission).request_id)
    line.close()
    assert tally.counts() == {"accepted": len(submissions)}
    stack.lanes_are_empty()
    return account


@pytest.fixture
def connection(stack: Stack) -> Iterator[Connection]:
    """Whatever is done by it is undone."""
    with Database(stack.database_url).connect() as connection, connection.transaction(force_rollback=True):
        yield connection


def _found(connection: Connection, account: Account) -> set[str]:
    faults, _ = judge_rows(connection, [account])
    return {name for name, count in faults.counts.items() if count}


def test_judge_finds_nothing_where_all_is_well(connection: Connection, account: Account) -> None:
    assert _found(connection, account) == set()


#: What is done to a connector's rows, by what it makes of them.
WRONG = [
    ("missing", "DELETE FROM items WHERE connector_id = %s AND id = 'a'"),
    ("missing", "DELETE FROM connector_logs WHERE connector_id = %s AND index = 0"),
    ("missing", "DELETE FROM receipts WHERE connector_id = %s AND kind = 'heartbeat'"),
    ("altered", "UPDATE items SET name = 'Bob' WHERE connector_id = %s AND id = 'a'"),
    ("altered", "UPDATE items SET fields = fields || '{\"exact\":\"1\"}' WHERE connector_id = %s AND id = 'b'"),
    ("altered", "UPDATE items SET version = version + 1 WHERE connector_id = %s AND id = 'b'"),
    ("altered", "UPDATE connector_logs SET context = '{}' WHERE connector_id = %s AND index = 1"),
    (
        "doubled logs",
        """INSERT INTO connector_logs SELECT connector_id, version + 1, index, logged_at, level, message, context
        FROM connector_logs WHERE connector_id = %s""",
    ),
    (
        "invented rows",
        """INSERT INTO items (connector_id, version, updated_at, stream, id, fields, tags)
        VALUES (%s, 1, now(), 'agents', 'nobody', '{}', '{}')""",
    ),
    (
        "invented rows",
        "INSERT INTO receipts (connector_id, version, lane, kind, received) VALUES (%s, 1, 0, 'items', 1)",
    ),
    ("unbalanced", "UPDATE receipts SET superseded = 0 WHERE connector_id = %s"),
    (
        "dead though valid",
        """INSERT INTO dead_letters (connector_id, version, lane, meta, received, body, reason, detail)
        VALUES (%s, 1, 0, '{}', 1, '', 'unreadable', '')""",
    ),
]


@pytest.mark.parametrize(("wrong", "statement"), WRONG)
def test_judge_finds_what_is_wrong(connection: Connection, account: Account, wrong: str, statement: str) -> None:
    assert connection.execute(statement, [account.id]).rowcount > 0

    assert wrong in _found(connection, account)


def _put(connection: Connection, account: Account, counter: int) -> None:
    """Makes an older or unknown state of `a` the stored one, with a newer version."""
    made = state(("agents", "a"), counter)
    connection.execute(
        """UPDATE items SET name = %s, fields = %s, tags = %s, version = version + 1
        WHERE connector_id = %s AND id = 'a'""",
        [made.name, json_object(made.fields), json_object(made.tags), account.id],
    )


def test_judge_finds_an_older_state_over_a_newer_one(connection: Connection, account: Account) -> None:
    _put(connection, account, _OLD)

    assert _found(connection, account) == {"regressed"}


def test_judge_allows_what_an_attempt_without_an_answer_may_have_left(connection: Connection, account: Account) -> None:
    _put(connection, account, _UNHEARD)
    assert _found(connection, account) == {"regressed"}

    account.ledger.doubt(batch_of("agents", [("a", _UNHEARD)], packed=False))

    assert _found(connection, account) == set()
