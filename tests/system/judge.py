"""Reads what became of everything, and holds it against the ledgers. All that it counts is to be zero."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from redis.exceptions import RedisError

from tests.system.fleet import Fleet
from tests.system.ledger import ItemDebt, Ledger
from tests.system.look import Database
from tests.system.payloads import ItemKey, log_entries, log_place, read_exactly, stored, stored_log
from tests.system.producers import Account

_ROWS_AT_ONCE = 500
_EXAMPLES = 5
_LOOK_SECONDS = 0.5
#: What Redis may hold more than before the run, beside the idempotency keys: buffers, RQ's and the allocator's.
_MEMORY_SLACK_BYTES = 8 << 20
#: Of a key beside its own memory, in the table of all keys and that of expiries.
_KEY_OVERHEAD_BYTES = 100


_ROW_FAULTS = (
    *("missing", "altered", "regressed", "doubled logs", "invented rows"),
    *("unbalanced", "dead though valid"),
)


class Faults:
    """Counts by what is wrong, each with some examples."""

    def __init__(self, *names: str) -> None:
        self.counts: dict[str, int] = dict.fromkeys(names, 0)
        self.examples: list[str] = []

    def add(self, name: str, example: object, count: int = 1) -> None:
        """So many more of these."""
        self.counts[name] = self.counts.get(name, 0) + count
        if self.counts[name] <= _EXAMPLES:
            self.examples.append(f"{name}: {example}")


@dataclass
class Balance:
    """What a connector's submissions came to."""

    accepted: int = 0
    applied: int = 0
    superseded: int = 0
    dead: int = 0
    dropped: int = 0
    #: Submissions whose answer was lost and that were taken all the same.
    taken_unheard: int = 0


class Watch(threading.Thread):
    """Reads items while all goes on, and notes what goes back."""

    def __init__(self, url: str, accounts: list[Account]) -> None:
        super().__init__(name="watch", daemon=True)
        self._database = Database(url)
        self._accounts = accounts
        self._stop_asked = threading.Event()
        self._last: dict[tuple[int, ItemKey], tuple[int, int]] = {}
        self.reads = 0
        self.went_back: list[str] = []

    def ask_to_stop(self) -> None:
        """No further look."""
        self._stop_asked.set()

    def run(self) -> None:
        """Until told to stop; a database that is away is looked at again."""
        query = "SELECT stream, id, version, (fields ->> 'counter')::int AS counter FROM items WHERE connector_id = %s"
        while not self._stop_asked.wait(_LOOK_SECONDS):
            for account in self._accounts:
                try:
                    rows = self._database.rows(query, account.id)
                except psycopg.Error:
                    continue
                for row in rows:
                    self._compare(account, (row["stream"], row["id"]), (row["version"], row["counter"]))
        self._database.close()

    def _compare(self, account: Account, key: ItemKey, now: tuple[int, int]) -> None:
        self.reads += 1
        before = self._last.get((account.id, key), now)
        self._last[account.id, key] = now
        older = now[1] < before[1] and key[1].startswith("producer-") and not account.ledger.may_be(key, now[1])
        if now[0] < before[0] or older:
            self.went_back.append(f"{account.name} {key}: (version, counter) {before} became {now}")


Connection = psycopg.Connection[dict[str, Any]]


def judge_rows(connection: Connection, accounts: Iterable[Account]) -> tuple[Faults, dict[str, Balance]]:
    """What Postgres holds of these connectors."""
    faults, balances = Faults(*_ROW_FAULTS), {}
    for account in accounts:
        _judge_items(connection, account, faults)
        _judge_logs(connection, account, faults)
        balances[account.name] = _judge_submissions(connection, account, faults)
    return faults, balances


def judge_strangers(connection: Connection, accounts: Iterable[Account], faults: Faults) -> None:
    """What it holds of connectors that sent nothing."""
    known = [account.id for account in accounts]
    for table in ("items", "connector_logs", "receipts", "dead_letters"):
        query = f"SELECT count(*) AS rows FROM {table} WHERE connector_id <> ALL (%s)"  # noqa: S608 - ours
        if rows := connection.execute(query, (known,)).fetchall()[0]["rows"]:
            faults.add("invented rows", f"{rows} {table} of nobody", rows)


def _rows(connection: Connection, query: str, *values: object) -> Iterator[dict[str, Any]]:
    """Some at a time: they may be many, and large."""
    with connection.transaction(), connection.cursor("judge") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        yield from cursor.execute(query, values)


def _judge_items(connection: Connection, account: Account, faults: Faults) -> None:
    query = "SELECT stream, id, version, name, fields::text, tags::text FROM items WHERE connector_id = %s"
    debts = account.ledger.items
    found = set()
    for row in _rows(connection, query, account.id):
        key = row["stream"], row["id"]
        found.add(key)
        if key not in debts:
            faults.add("invented rows", f"{account.name} {key}")
            continue
        fields = read_exactly(row["fields"])
        counter = int(fields.get("counter", -1))
        name = _fault_of_item(debts[key], row["version"], counter)
        if stored(key, counter) != (row["name"], fields, read_exactly(row["tags"])):
            name = "altered"
        if name:
            faults.add(name, f"{account.name} {key}: version {row['version']}, state {counter}; owed {debts[key]}")
    for key in debts.keys() - found:
        if debts[key].version:
            faults.add("missing", f"{account.name} {key}: owed {debts[key]}")


def _fault_of_item(debt: ItemDebt, version: int, counter: int) -> str:
    """What is wrong with an item that is in this state since this version; '' where nothing is."""
    unsure = counter in debt.unsure
    if counter == debt.counter:
        return "" if unsure or debt.since <= version <= debt.version else "altered"
    if version < debt.version:
        return "missing"
    return "" if unsure else "regressed"


def _judge_logs(connection: Connection, account: Account, faults: Faults) -> None:
    query = "SELECT level, message, context::text, index FROM connector_logs WHERE connector_id = %s"
    found: dict[str, Counter[int]] = {}
    for row in _rows(connection, query, account.id):
        place = log_place(row["message"])
        if place is None or place[0] not in account.ledger.logs:
            faults.add("invented rows", f"{account.name} log {row['message'][:80]!r}")
        elif (row["level"], row["message"], read_exactly(row["context"])) != stored_log(*place):
            faults.add("altered", f"{account.name} log {place}")
        else:
            found.setdefault(place[0], Counter())[place[1]] += 1
    for producer, debt in account.ledger.logs.items():
        numbers = found.get(producer, Counter())
        for number in numbers.keys() | debt.accepted.keys():
            copies, entries = numbers[number], log_entries(number)
            least, most = debt.accepted[number] * entries, (debt.accepted[number] + debt.unsure[number]) * entries
            if copies < least:
                faults.add("missing", f"{account.name} log {producer} {number}: {copies} of {least}", least - copies)
            elif copies > most:
                name = "doubled logs" if most else "invented rows"
                faults.add(name, f"{account.name} log {producer} {number}: {copies}, not {most}", copies - most)
            elif copies % entries:
                faults.add("altered", f"{account.name} log {producer} {number}: a part of it, {copies}")


def _judge_submissions(
    connection: Connection, account: Account, faults: Faults
) -> Balance:  # fmt: skip
    """Accepted = applied + superseded + dead, submission by submission."""
    ledger, balance = account.ledger, Balance(account.ledger.received)
    owed = set(ledger.versions)
    if len(owed) != len(ledger.versions):
        faults.add("unbalanced", f"{account.name}: {len(ledger.versions) - len(owed)} request ids were given twice")
    query = "SELECT version, received, superseded FROM receipts WHERE connector_id = %s"
    for row in _rows(connection, query, account.id):
        if not 0 <= row["superseded"] <= row["received"]:
            faults.add("unbalanced", f"{account.name}: {row}")
        if row["version"] in owed:
            owed.remove(row["version"])
            balance.applied += row["received"] - row["superseded"]
            balance.superseded += row["superseded"]
        else:
            balance.taken_unheard += 1
    _judge_dead(connection, account, balance, faults)
    for version in owed:
        faults.add("missing", f"{account.name}: the submission of version {version} was neither applied nor put aside")
    if balance.taken_unheard > ledger.unsure:
        extra = balance.taken_unheard - ledger.unsure
        faults.add("invented rows", f"{account.name}: {extra} receipts more than there were submissions", extra)
    if balance.accepted != balance.applied + balance.superseded + balance.dead + balance.dropped:
        faults.add("unbalanced", f"{account.name}: {balance}")
    if balance.superseded < ledger.repeats:
        faults.add("unbalanced", f"{account.name}: {ledger.repeats} items were repeated in their batch: {balance}")
    return balance


def _judge_dead(
    connection: Connection, account: Account, balance: Balance, faults: Faults
) -> None:  # fmt: skip
    ledger: Ledger = account.ledger
    balance.accepted += len(ledger.poison)
    balance.dropped = len(ledger.dropped)
    missing = ledger.poison - ledger.dropped
    query = "SELECT version, received, reason FROM dead_letters WHERE connector_id = %s"
    for row in _rows(connection, query, account.id):
        if row["version"] not in ledger.poison:
            faults.add("dead though valid", f"{account.name}: {row}")
        elif row["version"] in ledger.dropped:
            faults.add("invented rows", f"{account.name}: dropped and there: {row}")
        else:
            balance.dead += row["received"]
            missing.discard(row["version"])
    for version in missing:
        faults.add("missing", f"{account.name}: the dead letter of version {version}")


def judge_redis(fleet: Fleet, memory_before: int) -> Faults:
    """What Redis still holds."""
    faults = Faults("entries left", "entries pending", "bytes in the backlog", "failed jobs", "MB of memory kept")
    for lane, count in fleet.lanes.pending().items():
        faults.add("entries pending", f"lane {lane}: {count}", count)
    if waiting := fleet.lanes.waiting():
        faults.add("entries left", waiting, waiting)
    for lane, counters in enumerate(fleet.lanes.backlogs()):
        parts = {name.decode(): int(value) for name, value in counters.items() if name[:2] == b"c:"}
        if parts or int(counters.get(b"bytes", 0)):
            faults.add("bytes in the backlog", f"lane {lane}: {counters}", abs(int(counters.get(b"bytes", 0))) or 1)
    if failed := int(fleet.redis.zcard("rq:failed:drain")):
        faults.add("failed jobs", fleet.redis.zrange("rq:failed:drain", 0, _EXAMPLES), failed)
    grown = memory_of(fleet) - memory_before
    if grown > _MEMORY_SLACK_BYTES:
        faults.add("MB of memory kept", f"{grown / 1e6:.1f} MB more than before", grown >> 20)
    return faults


def memory_of(fleet: Fleet) -> int:
    """Bytes that Redis uses, without what is known to stay for a day: idempotency keys; nor what clients cost."""
    info = fleet.redis.info("memory")
    keys, sample = 0, b""
    for key in fleet.redis.scan_iter("{lane-*}:idempotency:*", count=1000):
        keys, sample = keys + 1, key
    try:
        each = int(fleet.redis.memory_usage(sample) or 0) if sample else 0
    except RedisError:
        each = 0
    return int(info["used_memory"]) - int(info.get("mem_clients_normal", 0)) - keys * (each + _KEY_OVERHEAD_BYTES)
