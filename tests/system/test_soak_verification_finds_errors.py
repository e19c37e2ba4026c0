"""The verification of a soak finds each kind of error, and none if everything is correct."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soak.engine_inspection import Database
from tests.soak.ledger import version_of_entry
from tests.soak.payloads import HEARTBEAT, batch_of, deletion, json_object, log_of, retain_of, state, webhook_of
from tests.soak.producers import Account, Client, Tally
from tests.soak.verification import Connection, verify_rows
from tests.support.request_ids import request_id_of
from tests.support.stack import Stack

_OLD, _NEW, _UNANSWERED = 1, 2, 3


@pytest.fixture(scope="module")
def account(stack: Stack) -> Account:
    """A connector whose submissions are all applied."""
    made = stack.connector("verified")
    account, tally = Account(made.id, "verified", 0, made.credential), Tally()
    submissions = [
        batch_of("agents", [("a", _OLD), ("b", 5)], packed=False),
        batch_of("agents", [("a", _NEW), ("c", 6), ("c", 7)], packed=True),
        batch_of("agents", [("d", 8)], packed=False),
        batch_of("agents", [("d", deletion(9))], packed=False),
        batch_of("roster", [("e", 10), ("f", 11)], packed=False),
        retain_of("roster", ["e"], {("roster", "f"): deletion(12)}, bounded=True),
        webhook_of("hooked", 3),
        log_of("somebody", 3, packed=True),
        HEARTBEAT,
    ]
    client = Client(account, tally)
    for submission in submissions:
        account.ledger.accept(submission, client.attempt(stack.url, submission).request_id)
    client.close()
    assert tally.counts() == {"accepted": len(submissions)}
    stack.lanes_are_empty()
    return account


@pytest.fixture
def connection(stack: Stack) -> Iterator[Connection]:
    """A connection whose changes are rolled back."""
    with Database(stack.database_url).connect() as connection, connection.transaction(force_rollback=True):
        yield connection


def _found(connection: Connection, account: Account) -> set[str]:
    findings, _ = verify_rows(connection, [account])
    return {name for name, count in findings.counts.items() if count}


def test_correct_rows_have_no_findings(connection: Connection, account: Account) -> None:
    assert _found(connection, account) == set()


#: Kinds of errors, each with a statement that makes one.
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
    *(
        (
            "not removed",
            f"""INSERT INTO items (connector_id, version, updated_at, stream, id, fields, tags)
            VALUES (%s, 1, now(), '{stream}', '{name}', '{{"counter":{counter}}}', '{{}}')""",  # noqa: S608 - of constants
        )
        for stream, name, counter in (("agents", "d", 8), ("roster", "f", 11))
    ),
    ("unbalanced", "UPDATE receipts SET superseded = 0 WHERE connector_id = %s"),
    (
        "dead though valid",
        """INSERT INTO dead_letters (connector_id, version, lane, meta, received, body, reason, detail)
        VALUES (%s, 1, 0, '{}', 1, '', 'unreadable', '')""",
    ),
]


@pytest.mark.parametrize(("wrong", "statement"), WRONG)
def test_error_is_found(connection: Connection, account: Account, wrong: str, statement: str) -> None:
    assert connection.execute(statement, [account.id]).rowcount > 0

    assert wrong in _found(connection, account)


def _put(connection: Connection, account: Account, counter: int) -> None:
    """Store an older or unknown state of `a`, with a newer version."""
    made = state(("agents", "a"), counter)
    connection.execute(
        """UPDATE items SET name = %s, fields = %s, tags = %s, version = version + 1
        WHERE connector_id = %s AND id = 'a'""",
        [made.name, json_object(made.fields), json_object(made.tags), account.id],
    )


def test_older_state_over_a_newer_one_is_found(connection: Connection, account: Account) -> None:
    _put(connection, account, _OLD)

    assert _found(connection, account) == {"regressed"}


def test_state_of_an_attempt_without_an_answer_is_allowed(connection: Connection, account: Account) -> None:
    _put(connection, account, _UNANSWERED)
    assert _found(connection, account) == {"regressed"}

    account.ledger.accept_maybe(batch_of("agents", [("a", _UNANSWERED)], packed=False))

    assert _found(connection, account) == set()


def test_of_what_was_accepted_during_a_failover_only_what_it_may_lose_may_be_missing(connection: Connection) -> None:
    account = Account(0, "has nothing", 0, "")
    account.ledger.doubt()
    for number, name in enumerate(("lost", "kept")):
        account.ledger.accept(batch_of("agents", [(name, 1)], packed=False), request_id_of(0, b"%d-0" % number))
    assert _found(connection, account) == set()

    account.ledger.settle({version_of_entry(b"0-0")})

    findings, _ = verify_rows(connection, [account])
    assert findings.counts["missing"] == len(["its item", "its receipt"])
    assert "'kept'" in findings.examples[0]
    assert str(version_of_entry(b"1-0")) in findings.examples[1]
