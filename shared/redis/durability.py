"""Whether a 202 can be a promise: whether Redis keeps what it accepted through a kill and a power loss.

Checked by every process at its start, by the API whenever it loads credentials, and by `/readyz`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import Redis
from redis.exceptions import (
    BusyLoadingError,
    ResponseError,
)

from shared.outage import Repeats
from shared.redis.connections import UNAVAILABLE, server_of
from shared.redis.primaries import ask_each, told_by_any

log = structlog.get_logger()

#: An API process that waits for Postgres checks twice a second.
_repeats: Final = Repeats()
#: Each setting of the server that matters: name, required value, sentence about another value, what it decides.
_REQUIRED: Final = (
    ("aof_enabled", "1", "Redis keeps no append-only file: set `appendonly yes`.", "keeps an append-only file"),
    (
        "maxmemory_policy",
        "noeviction",
        "Redis may evict accepted submissions ({}): set `maxmemory-policy noeviction`.",
        "evicts keys",
    ),
    (
        "appendfsync",
        "always",
        "Redis answers before it has fsynced ({}): set `appendfsync always`.",
        "fsyncs each write before it answers",
    ),
)


@dataclass(frozen=True, slots=True)
class Durability:
    """Whether a server keeps what it accepted, in sentences."""

    #: What would lose accepted submissions.
    problems: tuple[str, ...]
    #: What the server does not let us read.
    unchecked: tuple[str, ...]


def assess_durability(values: Mapping[str, str]) -> Durability:
    """Decide from the server's settings; those that are missing could not be read."""
    problems, unchecked = [], []
    for setting, required, problem, decided in _REQUIRED:
        value = values.get(setting)
        if value is None:
            unchecked.append(f"It could not be checked whether Redis {decided}.")
        elif value != required:
            problems.append(problem.format(value))
    return Durability(tuple(problems), tuple(unchecked))


def check_durability(client: Redis) -> Durability:
    """Read and assess the settings of all primaries that answer. Raises RedisError if none does."""
    found = told_by_any(ask_each(client, (), lambda node, _: check_server(node)))
    problems = dict.fromkeys(problem for one in found for problem in one.problems)
    unchecked = dict.fromkeys(setting for one in found for setting in one.unchecked)
    return Durability(tuple(problems), tuple(unchecked))


def check_server(client: Redis) -> Durability:
    """Read and assess one server's settings. What a managed service refuses to tell is reported as unchecked.

    Raises one of UNAVAILABLE, also for a replica, and for a server that is still loading its file: it reports that it
    keeps none.
    """
    server_of(client)
    persistence = _ask(lambda: client.info("persistence"))
    if persistence.get("loading") == "1":
        raise BusyLoadingError("Redis is still reading its append-only file.")
    memory = _ask(lambda: client.info("memory"))
    return assess_durability(persistence | memory | _ask(lambda: client.config_get("appendfsync")))


def _ask(command: Callable[[], Any]) -> dict[str, str]:
    try:
        return {_text(name): _text(value) for name, value in command().items()}
    except UNAVAILABLE:  # some of these are response errors too
        raise
    except ResponseError:
        return {}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def blocking_problem(durability: Durability, *, accept_data_loss: bool) -> str | None:
    """Return the problem for which to refuse to work, if any. Warn of what was not checked or is accepted."""
    for sentence in durability.unchecked:
        if _repeats.due(sentence) is not None:
            log.warning("durability_unchecked", reason=sentence)
    if durability.problems and not accept_data_loss:
        return durability.problems[0]
    for sentence in durability.problems:
        if _repeats.due(sentence) is not None:
            log.warning("data_loss_accepted", reason=sentence)
    return None
