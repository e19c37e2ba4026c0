"""Ask each primary the same question at once: one that is away keeps the others from nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from redis import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis.cluster import Cluster
from shared.redis.names import lane_keys
from shared.redis.topology import Host

Told = TypeVar("Told")

#: Maximum time that the primaries of a cluster have for their answers, in seconds.
_SECONDS: Final = 1.5
#: A question to a node that hangs holds its thread for the timeout of a call.
_threads: Final = ThreadPoolExecutor(32, thread_name_prefix="primaries")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Told]):
    """What one primary told."""

    #: Its address; empty for an only server.
    node: str
    #: The lanes that it has, of those that were asked about.
    lanes: list[int]
    told: list[Told]
    #: Why it told nothing.
    error: RedisError | None = None


def ask_each(redis: Redis, lanes: Sequence[int], ask: Callable[[Redis, list[int]], Told]) -> list[Answer[Told]]:
    """Ask each primary about its part of the lanes; without lanes, each one about itself."""
    if not isinstance(redis, Cluster):
        return [_answer("", redis, list(lanes), ask)]
    try:
        parts = _parts(redis, lanes)
    except RedisError as error:
        return [Answer("", list(lanes), [], error)]
    asked = {
        _threads.submit(_answer, _name(host), redis.nodes.at(host), part, ask): (host, part)
        for host, part in parts.items()
    }
    wait(asked, timeout=_SECONDS)
    return [_answer_of(future, *of) for future, of in asked.items()]


def told_by_any(answers: list[Answer[Told]]) -> list[Told]:
    """Return what the primaries told. Raises RedisError if none of them told anything."""
    told = [one for answer in answers for one in answer.told]
    if not told:
        raise next(answer.error for answer in answers if answer.error)
    return told


def require_answer(redis: Redis) -> None:
    """Raise RedisError if no primary answers."""
    told_by_any(ask_each(redis, (), lambda node, _: node.ping()))


def primaries(redis: Redis) -> list[Redis]:
    """Return the client of each primary. Raises redis.ConnectionError."""
    return [node for node, _ in lanes_by_node(redis, ())]


def lanes_by_node(redis: Redis, lanes: Sequence[int]) -> list[tuple[Redis, list[int]]]:
    """Return the client of each primary with its part of the lanes. Raises redis.ConnectionError."""
    if not isinstance(redis, Cluster):
        return [(redis, list(lanes))]
    return [(redis.nodes.at(host), part) for host, part in _parts(redis, lanes).items()]


def _parts(redis: Cluster, lanes: Sequence[int]) -> dict[Host, list[int]]:
    topology = redis.nodes.topology
    topology.refresh()
    if not lanes:
        return {host: [] for host in topology.primaries()}
    parts = defaultdict[Host, list[int]](list)
    for lane in lanes:
        parts[topology.host_of(lane_keys(lane).stream)].append(lane)
    return parts


def _answer(node: str, redis: Redis, lanes: list[int], ask: Callable[[Redis, list[int]], Told]) -> Answer[Told]:
    try:
        return Answer(node, lanes, [ask(redis, lanes)])
    except RedisError as error:
        return Answer(node, lanes, [], error)


def _answer_of(future: Future[Answer[Told]], host: Host, lanes: list[int]) -> Answer[Told]:
    if future.done():
        return future.result()
    return Answer(_name(host), lanes, [], RedisTimeoutError("The node has not answered in time."))


def _name(host: Host) -> str:
    return f"{host[0]}:{host[1]}"
