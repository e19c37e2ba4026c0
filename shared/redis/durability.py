"""Whether a 202 can be a promise: whether Redis keeps what it was given, through a kill and a loss of power.

Asked by every process at its start, by the API whenever it loads credentials, and by `/readyz`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import BusyLoadingError, NoPermissionError, ReadOnlyError, ResponseError

from shared.redis.connections import UNAVAILABLE

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Durability:
    """Whether a 202 can be a promise on this server."""

    #: Sentences: what would lose accepted submissions.
    faults: tuple[str, ...]
    #: Sentences: what the service does not let us see.
    unchecked: tuple[str, ...]


def judge_durability(aof_enabled: str | None, policy: str | None, fsync: str | None) -> Durability:
    """Decides from the server's settings; None is what could not be read."""
    faults, unchecked = [], []
    if aof_enabled is None:
        unchecked.append("It could not be checked whether Redis keeps an append-only file.")
    elif aof_enabled != "1":
        faults.append("Redis keeps no append-only file: set `appendonly yes`.")
    if policy is None:
        unchecked.append("It could not be checked whether Redis evicts keys.")
    elif policy != "noeviction":
        faults.append(f"Redis may evict what was accepted ({policy}): set `maxmemory-policy noeviction`.")
    if fsync is None:
        unchecked.append("It could not be checked whether Redis fsyncs each write before it answers.")
    elif fsync != "always":
        faults.append(f"Redis answers before it has fsynced ({fsync}): set `appendfsync always`.")
    return Durability(tuple(faults), tuple(unchecked))


def check_durability(client: Redis) -> Durability:
    """Asks the server. Managed services forbid some questions; what they forbid is reported as unchecked.

    Raises one of UNAVAILABLE. A replica counts as such, and its connections are given up: after a failover, the same
    address may lead to the new primary. So does a server that still reads its file: it says that it keeps none.
    """
    if _value(_ask(lambda: client.info("replication")), "role") == "slave":
        client.connection_pool.disconnect()
        raise ReadOnlyError("Redis is a replica, which takes no writes.")
    info = _ask(lambda: client.info("persistence"))
    if _value(info, "loading") == "1":
        raise BusyLoadingError("Redis is still reading its append-only file.")
    memory = _ask(lambda: client.info("memory"))
    config = _ask(lambda: client.config_get("appendfsync"))
    return judge_durability(
        _value(info, "aof_enabled"), _value(memory, "maxmemory_policy"), _value(config, "appendfsync")
    )


def _ask(question: Callable[[], Any]) -> dict[Any, Any]:
    try:
        return dict(question())
    except (ResponseError, NoPermissionError) as refused:
        if isinstance(refused, UNAVAILABLE):
            raise
        return {}


def _value(answers: dict[Any, Any], name: str) -> str | None:
    value = answers.get(name, answers.get(name.encode()))
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def fault_that_counts(durability: Durability, *, accept_data_loss: bool) -> str | None:
    """The sentence for which to refuse to work, if any. What could not be checked, or was accepted, is warned of."""
    for sentence in durability.unchecked:
        log.warning("durability_unchecked", reason=sentence)
    if durability.faults and not accept_data_loss:
        return durability.faults[0]
    for sentence in durability.faults:
        log.warning("data_loss_accepted", reason=sentence)
    return None
