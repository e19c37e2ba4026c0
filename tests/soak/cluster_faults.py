"""Faults of a cluster: a primary is killed, a node hangs, slots move. Lanes of other shards have to go on."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import cast

from tests.soak.cluster_shape import ClusterShape
from tests.soak.engine_inspection import BACK_SECONDS, until
from tests.soak.fault_context import FaultContext, Injection


@contextlib.contextmanager
def primary_killed(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Kill a primary; start it again once its replica is promoted."""
    shape, injection = cast("ClusterShape", context.fleet.shape), Injection(context.counts())
    shard = dice.randrange(len(shape.pairs()))
    killed, replica = shape.cluster.primaries[shard], shape.cluster.replicas[shard]
    with context.in_doubt(), context.hitting(shape.lanes_of(killed, context.fleet.lanes)):
        shape.let_rest(killed)
        context.mark_broken()
        killed.process.kill()
        try:
            took = until("the replica is promoted", lambda: replica.info("role") == "master", BACK_SECONDS)
        finally:
            shape.keep(killed)
        until("the shard is complete", lambda: shape.note_roles(shard), BACK_SECONDS)
    injection.evidence.append(f"the replica was promoted after {took:.1f} s")
    yield injection


@contextlib.contextmanager
def node_hangs(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Let a primary hang and live on; after some seconds its replica is promoted."""
    shape, injection = cast("ClusterShape", context.fleet.shape), Injection(context.counts())
    shard = dice.randrange(len(shape.pairs()))
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
    shape.pairs()
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
        shape.cluster.move(slot, source, target, by_key=by_key)
        took = time.monotonic() - began
        until("all nodes know", lambda: shape.all_know(slot, target), BACK_SECONDS)
        shape.wait_for_copies()
    how = "key by key" if by_key else "as a whole"
    injection.evidence.append(f"a lane moved {how} in {took:.1f} s")
    yield injection
