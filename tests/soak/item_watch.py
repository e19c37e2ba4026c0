"""A reader of items during the run: no item may go back to an older state."""

from __future__ import annotations

import threading

import psycopg

from tests.soak.engine_inspection import Database
from tests.soak.payloads import ItemKey
from tests.soak.producers import Account

#: Interval in seconds between two readings.
_PERIOD_SECONDS = 0.5


class ItemWatch(threading.Thread):
    """Reads items during the run, and records each that goes back to an older state."""

    def __init__(self, url: str, accounts: list[Account]) -> None:
        super().__init__(name="item-watch", daemon=True)
        self._database = Database(url)
        self._accounts = accounts
        self._stop_requested = threading.Event()
        self._last: dict[tuple[int, ItemKey], tuple[int, int]] = {}
        #: Items that were gone forever when they were last looked for.
        self._gone: set[tuple[int, ItemKey]] = set()
        self.reads = 0
        self.went_back: list[str] = []

    def request_stop(self) -> None:
        """Stop reading."""
        self._stop_requested.set()

    def run(self) -> None:
        """Read until told to stop; a database that is away is tried again."""
        query = "SELECT stream, id, version, (fields ->> 'counter')::int AS counter FROM items WHERE connector_id = %s"
        applied = "SELECT applied_version FROM lanes WHERE lane = %s"
        while not self._stop_requested.wait(_PERIOD_SECONDS):
            for account in self._accounts:
                try:
                    watermark = int(self._database.rows(applied, account.lane)[0]["applied_version"])
                    rows = self._database.rows(query, account.id)
                except psycopg.Error:
                    continue
                for row in rows:
                    self._compare(account, (row["stream"], row["id"]), (row["version"], row["counter"]))
                self._look_for_gone(account, watermark, {(row["stream"], row["id"]) for row in rows})
        self._database.close()

    def _look_for_gone(self, account: Account, watermark: int, found: set[ItemKey]) -> None:
        for key in account.ledger.gone(watermark):
            if key not in found:
                self._gone.add((account.id, key))
            elif (account.id, key) in self._gone:
                self.went_back.append(f"{account.name} {key}: it was gone and is there again")

    def _compare(self, account: Account, key: ItemKey, now: tuple[int, int]) -> None:
        self.reads += 1
        before = self._last.get((account.id, key), now)
        self._last[account.id, key] = now
        older = now[1] < before[1] and key[1].startswith("producer-") and not account.ledger.may_be(key, now[1])
        if now[0] < before[0] or older:
            self.went_back.append(f"{account.name} {key}: (version, counter) {before} became {now}")
