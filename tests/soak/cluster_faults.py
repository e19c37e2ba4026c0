"""Faults of a cluster: a primary is killed, a node hangs, slots move. Lanes of other shards have to go on."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import cast

from tests.soak.cluster_shape import ClusterShape
from tests.soak.engine_inspection import until
from tests.soak.fault_context import BACK_SECONDS, FaultContext, Injection
from tests.support.cluster import ClusterNode

#: Timeout in milliseconds of moving keys.
_MIGRATE_MS = 5_000
_KEYS_AT_ONCE = 100


@contextlib.contextmanager
def primary_killed(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Kill a primary; start it again once its replica is promoted."""
    shape, injection = cast("ClusterShape", context.fleet.shape), Injection(context.counts())
    shard = dice.randrange(len(shape.cluster.primaries))
    killed, replica = shape.cluster.primaries[shard], shape.cluster.replicas[shard]
    with context.in_doubt(), context.hitting(shape.lanes_of(killed, context.fleet.lanes)):
        shape.let_rest(killed)
        context.mark_broken()
        killed.process.kill()
        took = until("the replica is promoted", lambda: replica.info("role") == "master", BACK_SECONDS)
        shape.keep(killed)
        until("the shard is complete", lambda: shape.note_roles(shard), BACK_SECONDS)
    injection.evidence.append(f"the replica was promoted after {took:.1f} s")
    yield injection


@contextlib.contextmanager
def node_hangs(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Let a primary hang and live on; after some seconds its replica is promoted."""
    shape, injection = cast("ClusterShape", context.fleet.shape), Injection(context.counts())
    shard = dice.randrange(len(shape.cluster.primaries))
    frozen = shape.cluster.primaries[shard]
    with context.in_doubt(), context.hitting(shape.lanes_of(frozen, context.fleet.lanes)):
        context.mark_broken()
        frozen.freeze()
        try:
            yield injection
        finally:
            frozen.thaw()
        until("the shard is complete", lambda: shape.note_roles(shard), BACK_SECONDS)
    promoted = "its replica was promoted" if shape.cluster.primaries[shard] is not frozen else "and went on"
    injection.evidence.append(f"a node hung, {promoted}")


@contextlib.contextmanager
def slots_moved(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Move the slot of a lane to another primary: key by key, or as a whole."""
    shape, injection = cast("ClusterShape", context.fleet.shape), Injection(context.counts())
    lanes = context.fleet.lanes
    source, target = dice.sample(shape.cluster.primaries, 2)
    movable = shape.lanes_of(source, lanes)
    lane = dice.choice(sorted(movable)) if movable else context.quiet.lane
    if not movable:  # all of its lanes have moved away: one comes back
        source, target = shape.owner_of(lanes.names[lane]), source
    slot = int(source.tell("KEYSLOT", f"{lanes.names[lane]}:stream"))
    by_key = dice.random() < 0.5
    with context.hitting(frozenset({lane})):
        context.mark_broken()
        began = time.monotonic()
        if by_key:
            _move_keys(shape, slot, source, target)
        else:
            source.tell("MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        until("the slot has moved", lambda: target.has(slot), BACK_SECONDS)
        took = time.monotonic() - began
        until("all nodes know", lambda: all(shape.knows(node, slot, target) for node in shape.nodes), BACK_SECONDS)
        shape.wait_for_copies()
    how = "key by key" if by_key else "as a whole"
    injection.evidence.append(f"a lane moved {how} in {took:.1f} s")
    yield injection


def _move_keys(shape: ClusterShape, slot: int, source: ClusterNode, target: ClusterNode) -> None:
    target.tell("SETSLOT", slot, "IMPORTING", source.id)
    source.tell("SETSLOT", slot, "MIGRATING", target.id)
    while keys := source.tell("GETKEYSINSLOT", slot, _KEYS_AT_ONCE):
        source.client.migrate("127.0.0.1", target.port, keys, 0, _MIGRATE_MS)
    for node in (target, source, *shape.cluster.primaries):
        node.tell("SETSLOT", slot, "NODE", target.id)
