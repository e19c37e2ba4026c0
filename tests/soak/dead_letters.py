"""Unreadable entries that become dead letters, and the operator who retries and drops some of them."""

from __future__ import annotations

import random

from tests.soak.fleet import Fleet
from tests.soak.ledger import version_of_entry
from tests.soak.producers import Account, Tally
from tests.support.request_ids import request_id_of

#: Bytes that an entry adds to the backlog in addition to its body.
_ENTRY_BYTES = 256


class DeadLetters:
    """Makes dead letters, and tends them with `ingestctl`."""

    def __init__(
        self, fleet: Fleet, accounts: list[Account], tally: Tally, dice: random.Random, *, one_at_a_time: bool
    ) -> None:
        self._fleet = fleet
        self._accounts = accounts
        self._tally = tally
        self._dice = dice
        #: Whether a round either retries or drops; otherwise it does both.
        self._one_at_a_time = one_at_a_time
        self._retried: set[int] = set()
        #: Entries appended so far.
        self.appended = 0

    def append_unreadable(self) -> None:
        """Append an entry that no validation would pass to a lane: it can never be applied."""
        account = self._dice.choice(self._accounts)
        self.appended += 1
        body = f"unreadable {self.appended}, no JSON".encode()
        name, cost = self._fleet.lanes.names[account.lane], len(body) + _ENTRY_BYTES
        pipe = self._fleet.redis.pipeline(transaction=True)
        pipe.xadd(f"{name}:stream", {"c": account.id, "m": '{"kind":"items"}', "n": 1, "b": body})
        pipe.hincrby(f"{name}:backlog", "bytes", cost)
        pipe.hincrby(f"{name}:backlog", f"c:{account.id}", cost)
        account.ledger.unreadable.add(version_of_entry(pipe.execute()[0]))
        self._fleet.shape.wait_for_copies()

    def tend(self) -> None:
        """Retry a dead letter, which fails again, and drop another."""
        actions = ("retry", "drop")
        for action in self._dice.sample(actions, 1) if self._one_at_a_time else actions:
            account = self._dice.choice(self._accounts)
            rows = self._fleet.database.rows(
                "SELECT version FROM dead_letters WHERE connector_id = %s AND version <> ALL (%s) LIMIT 1",
                *(account.id, list(self._retried)),
            )
            if not rows:
                continue
            version = rows[0]["version"]
            entry_id = b"%d-%d" % (version >> 20, version & 0xFFFFF)
            done = self._fleet.ingestctl("dead", action, request_id_of(account.lane, entry_id), "--yes")
            if action == "retry":
                self._retried.add(version)
            else:
                account.ledger.dropped.add(version)
            self._tally.add(f"dead letters: {action} of {done['letters']}")
