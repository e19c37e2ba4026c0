"""Verifies what Postgres holds in the end against the ledgers. Every count of errors has to be zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from tests.soak.findings import Balance, Findings
from tests.soak.ledger import ExpectedItem, Ledger
from tests.soak.payloads import is_deletion, log_entries, log_place, read_exactly, stored, stored_log
from tests.soak.producers import Account

_ROWS_AT_ONCE = 500
#: Kinds of errors.
KINDS = (
    *("missing", "altered", "regressed", "not removed", "doubled logs", "invented rows"),
    *("unbalanced", "dead though valid", "accepted twice"),
)

Connection = psycopg.Connection[dict[str, Any]]


def verify_rows(connection: Connection, accounts: Iterable[Account]) -> tuple[Findings, dict[str, Balance]]:
    """Verify what Postgres holds of these connectors against their ledgers."""
    findings, balances = Findings(*KINDS), {}
    for account in accounts:
        _verify_items(connection, account, findings)
        _verify_logs(connection, account, findings)
        balances[account.name] = _verify_submissions(connection, account, findings)
    return findings, balances


def verify_other_connectors(connection: Connection, accounts: Iterable[Account], findings: Findings) -> None:
    """Find rows of connectors that sent nothing."""
    known = [account.id for account in accounts]
    for table in ("items", "connector_logs", "receipts", "dead_letters"):
        query = f"SELECT count(*) AS rows FROM {table} WHERE connector_id <> ALL (%s)"  # noqa: S608 - ours
        if rows := connection.execute(query, (known,)).fetchall()[0]["rows"]:
            findings.add("invented rows", f"{rows} {table} of other connectors", rows)


def _rows(connection: Connection, query: str, *values: object) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, some at a time: they may be many and large."""
    with connection.transaction(), connection.cursor("verification") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        yield from cursor.execute(query, values)


def _verify_items(connection: Connection, account: Account, findings: Findings) -> None:
    query = "SELECT stream, id, version, name, fields::text, tags::text FROM items WHERE connector_id = %s"
    expected = account.ledger.items
    found = set()
    for row in _rows(connection, query, account.id):
        key = row["stream"], row["id"]
        found.add(key)
        if key not in expected:
            findings.add("invented rows", f"{account.name} {key}")
            continue
        fields = read_exactly(row["fields"])
        counter = int(fields.get("counter", -1))
        name = _error_of_item(expected[key], row["version"], counter)
        if not name and stored(key, counter) != (row["name"], fields, read_exactly(row["tags"])):
            name = "altered"
        if name:
            findings.add(
                name, f"{account.name} {key}: version {row['version']}, state {counter}; expected {expected[key]}"
            )
    for key in expected.keys() - found:
        if expected[key].version and not expected[key].may_be_gone:
            findings.add("missing", f"{account.name} {key}: expected {expected[key]}")


def _error_of_item(item: ExpectedItem, version: int, counter: int) -> str:
    """Return the kind of error of an item with this version and state, '' if it is correct."""
    uncertain = counter in item.uncertain
    if counter == item.counter:
        return "" if uncertain or item.since <= version <= item.version else "altered"
    if version < item.version:
        return "not removed" if is_deletion(item.counter) else "missing"
    return "" if uncertain else "regressed"


def _verify_logs(connection: Connection, account: Account, findings: Findings) -> None:
    query = "SELECT level, message, context::text, index FROM connector_logs WHERE connector_id = %s"
    found: dict[str, Counter[int]] = {}
    for row in _rows(connection, query, account.id):
        place = log_place(row["message"])
        if place is None or place[0] not in account.ledger.logs:
            findings.add("invented rows", f"{account.name} log {row['message'][:80]!r}")
        elif (row["level"], row["message"], read_exactly(row["context"])) != stored_log(*place):
            findings.add("altered", f"{account.name} log {place}")
        else:
            found.setdefault(place[0], Counter())[place[1]] += 1
    for producer, logs in account.ledger.logs.items():
        numbers = found.get(producer, Counter())
        for number in numbers.keys() | logs.accepted.keys():
            copies, entries = numbers[number], log_entries(number)
            least, most = logs.accepted[number] * entries, (logs.accepted[number] + logs.uncertain[number]) * entries
            if copies < least:
                findings.add("missing", f"{account.name} log {producer} {number}: {copies} of {least}", least - copies)
            elif copies > most:
                name = "doubled logs" if most else "invented rows"
                findings.add(name, f"{account.name} log {producer} {number}: {copies}, not {most}", copies - most)
            elif copies % entries:
                findings.add("altered", f"{account.name} log {producer} {number}: a part of it, {copies}")


def _verify_submissions(
    connection: Connection, account: Account, findings: Findings
) -> Balance:  # fmt: skip
    """Verify that each submission was applied or is a dead letter: accepted = applied + superseded + dead."""
    ledger, balance = account.ledger, Balance(account.ledger.received)
    missing = set(ledger.versions)
    if len(missing) != len(ledger.versions):
        findings.add(
            "unbalanced", f"{account.name}: {len(ledger.versions) - len(missing)} request ids were given twice"
        )
    if ledger.accepted_again:
        findings.add(
            "accepted twice", f"{account.name}: {ledger.accepted_again} repeats under their key", ledger.accepted_again
        )
    query = "SELECT version, received, superseded FROM receipts WHERE connector_id = %s"
    for row in _rows(connection, query, account.id):
        if not 0 <= row["superseded"] <= row["received"]:
            findings.add("unbalanced", f"{account.name}: {row}")
        if row["version"] in missing:
            missing.remove(row["version"])
            balance.applied += row["received"] - row["superseded"]
            balance.superseded += row["superseded"]
        else:
            balance.without_answer += 1
    _verify_dead(connection, account, balance, findings)
    for version in missing:
        findings.add(
            "missing", f"{account.name}: the submission of version {version} was neither applied nor dead-lettered"
        )
    if balance.without_answer > ledger.uncertain:
        extra = balance.without_answer - ledger.uncertain
        findings.add("invented rows", f"{account.name}: {extra} receipts more than there were submissions", extra)
    if balance.accepted != balance.applied + balance.superseded + balance.dead + balance.dropped:
        findings.add("unbalanced", f"{account.name}: {balance}")
    if balance.superseded < ledger.repeats:
        findings.add("unbalanced", f"{account.name}: {ledger.repeats} items were repeated in their batch: {balance}")
    return balance


def _verify_dead(
    connection: Connection, account: Account, balance: Balance, findings: Findings
) -> None:  # fmt: skip
    ledger: Ledger = account.ledger
    balance.accepted += len(ledger.unreadable)
    balance.dropped = len(ledger.dropped)
    missing = ledger.unreadable - ledger.dropped
    query = "SELECT version, received, reason FROM dead_letters WHERE connector_id = %s"
    for row in _rows(connection, query, account.id):
        if row["version"] not in ledger.unreadable:
            findings.add("dead though valid", f"{account.name}: {row}")
        elif row["version"] in ledger.dropped:
            findings.add("invented rows", f"{account.name}: dropped and there: {row}")
        else:
            balance.dead += row["received"]
            missing.discard(row["version"])
    for version in missing:
        findings.add("missing", f"{account.name}: the dead letter of version {version}")
