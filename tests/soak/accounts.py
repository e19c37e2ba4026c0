"""The connectors of a soak."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, cycle

from tests.soak.cluster_shape import ClusterShape
from tests.soak.engine_inspection import lane_of
from tests.soak.fleet import Fleet
from tests.soak.payloads import HOOKS
from tests.soak.producers import Account
from tests.support.signing import Hook
from tests.support.stack import UNLIMITED

#: Schemes of the connectors' hooks: with and without a signed time and delivery id. Stripe's deliveries are told by the
#: body's `id`, which is that of the item here.
HOOK_SCHEMES = ("github", "standard", "shopify", "hmac")
#: Maximum number of connectors that are made until one is on a wanted lane.
_MAX_DRAWS = 200


@dataclass(frozen=True)
class Accounts:
    """The connectors, by what they are for."""

    #: Those that submit under faults.
    sending: list[Account]
    #: One that has a lane for itself.
    quiet: Account
    #: One that measures latency between faults, and on a cluster one on each shard that measures it beside faults.
    probe: Account
    pulses: list[Account]

    @property
    def all(self) -> list[Account]:
        """All of them."""
        return [*self.sending, self.quiet, self.probe, *self.pulses]


def make_accounts(fleet: Fleet, connectors: int) -> Accounts:
    """Create them, each in its lane."""
    with ThreadPoolExecutor(2) as executor:
        names = (*(f"soak {number}" for number in range(connectors)), "probe")
        *sending, probe = executor.map(lambda name: _make(fleet, name), names)
        list(executor.map(lambda account, scheme: _give_hook(fleet, account, scheme), sending, cycle(HOOK_SCHEMES)))
    taken = frozenset(account.lane for account in (*sending, probe))
    quiet = _draw(fleet, "quiet", frozenset(range(len(fleet.lanes.names))) - taken)
    return Accounts(sending, quiet, probe, list(_make_pulses(fleet, quiet.lane)))


def _make_pulses(fleet: Fleet, quiet: int) -> Iterator[Account]:
    if isinstance(fleet.shape, ClusterShape):
        for primary in fleet.shape.cluster.primaries:
            yield _draw(fleet, "pulse", fleet.shape.lanes_of(primary, fleet.lanes) - {quiet})


def _draw(fleet: Fleet, name: str, lanes: frozenset[int]) -> Account:
    """Create connectors until one is on one of these lanes; return it."""
    for number in count():
        account = _make(fleet, f"{name} {min(lanes)} {number}")
        if account.lane in lanes:
            return account
        assert number < _MAX_DRAWS, f"No connector is on one of the lanes {lanes}."
    raise AssertionError


def _make(fleet: Fleet, name: str) -> Account:
    limits = ("--rate", str(UNLIMITED), "--burst", str(UNLIMITED))
    made = fleet.ingestctl("connector", "create", name, *limits)
    connector_id = int(made["connectorId"])
    return Account(connector_id, name, lane_of(fleet.database, connector_id), made["credential"])


def _give_hook(fleet: Fleet, account: Account, scheme: str) -> None:
    made = fleet.ingestctl("hook", "create", str(account.id), "--scheme", scheme, "--stream", HOOKS)
    account.hook = Hook(made["path"], made["secret"], scheme)
