"""What is wrong with an installation, the worst first: each names the connectors concerned and what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from operations.readable import counted
from operations.reasons import meaning_of
from operations.state import DatabaseState, State
from shared.redis.lane_status import RedisState

#: Share of a bound from which it is told, in percent.
_NEARLY: Final = 80
#: Connectors that one sentence names.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that needs an operator."""

    kind: str
    #: Submissions are refused or not applied until it ends.
    urgent: bool
    sentence: str
    remedy: str
    #: The connectors concerned, if it is not all of them.
    connector_ids: tuple[int, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        told = asdict(self)
        return {**told, "connectorIds": list(told.pop("connector_ids"))}


def troubles(state: State, max_backlog_bytes: int) -> list[Trouble]:
    """Return what is wrong, as far as it could be read, the urgent first."""
    found = [
        *_of_engines(state),
        *(_of_redis(state.redis, max_backlog_bytes) if state.redis else ()),
        *(_of_connectors(state.database) if state.database else ()),
    ]
    return sorted(found, key=lambda trouble: not trouble.urgent)


def _of_engines(state: State) -> Iterator[Trouble]:
    if state.database_fault:
        remedy = "Start or repair Postgres: submissions are accepted meanwhile, and applied when it is back."
        yield Trouble("postgres_away", urgent=True, sentence=state.database_fault, remedy=remedy)
    if state.redis_fault:
        remedy = "Start or repair Redis: submissions are answered 503 until it is back."
        yield Trouble("redis_away", urgent=True, sentence=state.redis_fault, remedy=remedy)


def _of_redis(redis: RedisState, max_backlog_bytes: int) -> Iterator[Trouble]:
    for node in redis.away:
        remedy = "Start or repair it, or let its replica take over: the lanes of the other nodes go on."
        yield Trouble("node_away", urgent=True, sentence=node.sentence(), remedy=remedy)
    if not redis.workers:
        yield Trouble("no_worker", True, "No worker runs: nothing is applied.", "Start workers: `python -m workers`.")
    elif (frozen := len(redis.workers) - redis.living_workers) > 0:
        yield Trouble(
            "frozen_worker",
            redis.living_workers == 0,
            f"{frozen} of {len(redis.workers)} workers have not reported for some seconds: they hang or were killed.",
            "See their logs, and restart them; `python -m workers.health` on their machine names the process.",
        )
    if not redis.sweeper:
        sentence = "No sweeper acts: a lane that was left waiting is not woken."
        yield Trouble("no_sweeper", True, sentence, "Start one: `python -m workers.sweep`.")
    if unready := [lane.number for lane in redis.lanes if not lane.ready]:
        yield Trouble(
            "lane_not_ready",
            True,
            f"{_lanes(unready)} not ready: submissions there are answered 503.",
            "An API process or the sweeper loads the credentials once Postgres answers; see their logs.",
        )
    if redis.stalled:
        yield Trouble(
            "lane_stalled",
            True,
            f"{_lanes(redis.stalled)} stalled: submissions wait, and none was applied for a while.",
            "The workers' log says why; `ingestctl connector list` names the connectors of a lane.",
        )
    yield from _of_bounds(redis, max_backlog_bytes)


def _of_bounds(redis: RedisState, max_backlog_bytes: int) -> Iterator[Trouble]:
    waiting = sum(lane.bytes for lane in redis.lanes)
    if (share := 100 * waiting // max_backlog_bytes) >= _NEARLY:
        yield Trouble(
            "backlog_full",
            True,
            f"The backlog is at {share} % of MAX_BACKLOG_BYTES: at its bound, submissions are answered 503.",
            "Find out why so much waits, start more workers, or raise the bound if Redis has the memory.",
        )
    if redis.memory_limit and (share := 100 * redis.memory // redis.memory_limit) >= _NEARLY:
        yield Trouble(
            "redis_full",
            True,
            f"Redis uses {share} % of its `maxmemory`: at its bound, submissions are answered 503.",
            "Give Redis more memory, or set MAX_BACKLOG_BYTES lower.",
        )


def _of_connectors(database: DatabaseState) -> Iterator[Trouble]:
    names = {row["connector_id"]: row["name"] for row in database.connectors}
    for group in database.dead:
        letters = f"{group['letters']:,} dead letter{'s' if group['letters'] > 1 else ''}"
        yield Trouble(
            "dead_letters",
            False,
            f"{letters} of {_connectors(group['connector_ids'], names)}: {meaning_of(group['reason'])}.",
            f"Look: `ingestctl dead list --fingerprint {group['fingerprint']}`; then `dead retry` or `dead drop`.",
            tuple(group["connector_ids"]),
        )
    yield from _of_refusals(database, names)
    quiet, never = ([row for row in database.connectors if row["silence"] == silence] for silence in ("quiet", "never"))
    for kind, rows, words, remedy in (
        ("quiet", quiet, "stopped sending", "Look at the machine or source that it runs on."),
        (
            "never_seen",
            never,
            "never sent anything",
            "Check its address and credential.",
        ),
    ):
        if rows:
            told = ", ".join(row["name"] for row in rows[:_NAMED])
            more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
            ids = tuple(row["connector_id"] for row in rows)
            whom = _connectors(ids)
            yield Trouble(kind, False, f"{whom[0].upper()}{whom[1:]} {words}: {told}{more}.", remedy, ids)


#: What it means that requests are refused, by code; any other code: the request is wrong.
_REFUSALS: Final = {
    "unauthorized": ("stale_key", "still uses a key that was {reason}", "Hand out the current key."),
    "rate_limited": (
        "over_limit",
        "sends more than its rate allows",
        "Larger batches, or `ingestctl connector set` with a higher rate.",
    ),
    "connector_backlog_full": ("connector_backlog_full", "sends faster than it is applied", "Add workers."),
}


def _of_refusals(database: DatabaseState, names: Mapping[int, str]) -> Iterator[Trouble]:
    counts: Counter[tuple[int, str, str]] = Counter()
    latest: dict[tuple[int, str, str], dict[str, Any]] = {}
    for group in database.refusals:
        if group["connector_id"] in names:
            key = group["connector_id"], group["code"], group["reason"] or ""
            counts[key] += group["count"]
            latest.setdefault(key, group)
    for (connector_id, code, reason), count in counts.most_common():
        group = latest[connector_id, code, reason]
        at = f" at {group['path_pattern']}" if group["path_pattern"] else ""
        kind, words, remedy = _REFUSALS.get(code, ("refused", f"is refused, {code}{at}", group["message"]))
        sentence = f"Connector {connector_id} ({names[connector_id]}) {words.format(reason=reason or 'replaced')}"
        yield Trouble(kind, False, f"{sentence}: {counted(count, 'request')} in 15 minutes.", remedy, (connector_id,))


def _connectors(ids: tuple[int, ...] | list[int], names: Mapping[int, str] | None = None) -> str:
    if len(ids) > 1:
        return f"{len(ids):,} connectors"
    name = (names or {}).get(ids[0])
    return f"connector {ids[0]} ({name})" if name else f"connector {ids[0]}"


def _lanes(numbers: list[int]) -> str:
    return f"Lane {numbers[0]} is" if len(numbers) == 1 else f"Lanes {', '.join(map(str, numbers))} are"
