"""The engines of a soak, in the shape that its plan names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak.cluster_shape import ClusterShape
from tests.soak.plan import Plan
from tests.soak.postgres_pair import PostgresPair
from tests.soak.redis_shapes import OneServer, RedisShape, SentinelPair

_REDIS: dict[str, type[OneServer | SentinelPair | ClusterShape]] = {
    "one": OneServer,
    "sentinel": SentinelPair,
    "cluster": ClusterShape,
}


@dataclass(frozen=True)
class Engines:
    """The Redis, and the pair of Postgres servers; `make run` starts the database if there is no pair."""

    redis: RedisShape
    pair: PostgresPair | None

    @property
    def settings(self) -> dict[str, object]:
        """The settings of every process."""
        return self.redis.settings | ({"DATABASE_URL": self.pair.url} if self.pair else {})

    @property
    def are_plain(self) -> bool:
        """Whether there is one server of each."""
        return isinstance(self.redis, OneServer) and self.pair is None


@contextmanager
def engines_of(plan: Plan, folder: Path) -> Iterator[Engines]:
    """Run the engines until the block ends."""
    with contextlib.ExitStack() as close:
        redis = close.enter_context(contextlib.closing(_REDIS[plan.redis](folder)))
        pair = close.enter_context(contextlib.closing(PostgresPair(folder))) if plan.postgres == "pair" else None
        yield Engines(redis, pair)
