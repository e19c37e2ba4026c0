"""What is wrong with an installation, the worst first: each names the connectors concerned and what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

from operations.readable import counted
from operations.reasons import meaning_of
from operations.refusals import REASONS
from operations.state import DatabaseState, State
from shared.error_codes import ErrorCode

#: Share of a bound from which it is told, in percent.
_NEARLY: Final = 80
#: Connectors that one sentence names.
_NAMED: Final = 5
#: Share of what waits from which a connector is named as one that fills the backlog, in percent.
_MUCH: Final = 10

Names = Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that needs an operator."""

    kind: str
    #: Submissions are refused or not applied until it ends.
    urgent: bool
    sentence: str
    remedy: str
    #: The connectors concerned, those with most of it first, if it is not all of them.
    connector_ids: tuple[int, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        told = asdict(self)
        ids = told.pop("connector_ids")
        return {**told, "connectorIds": list(ids)}


def troubles(state: State, max_backlog_bytes: int) -> list[Trouble]:
    """Return what is wrong, as far as it could be read, the urgent first."""
    names = {row["connector_id"]: row["name"] for row in state.database.connectors} if state.database else {}
    found = [
        *_of_engines(state),
        *_of_redis(state, names, max_backlog_bytes),
        *(_of_connectors(state.database, names) if state.database else ()),
    ]
    return sorted(found, key=lambda trouble: not trouble.urgent)


def _of_engines(state: State) -> Iterator[Trouble]:
    if state.database_fault:
        remedy = "Start or repair Postgres: submissions are accepted meanwhile, and applied when it is back."
        yield Trouble("postgres_away", urgent=True, sentence=state.database_fault, remedy=remedy)
    if state.redis_fault:
        remedy = "Start or repair Redis: submissions are answered 503 until it is back."
        yield Trouble("redis_away", urgent=True, sentence=state.redis_fault, remedy=remedy)


def _of_redis(state: State, names: Names, max_backlog_bytes: int) -> Iterator[Trouble]:
    redis = state.redis
    if redis is None:
        return
    for node in redis.away:
        remedy = "Start or repair it, or let its replica take over: the lanes of the other nodes go on."
        yield Trouble("node_away", urgent=True, sentence=node.sentence(), remedy=remedy)
    yield from _of_workers(state, names)
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
        waiting = _most_waiting(state, redis.stalled)
        yield Trouble(
            "lane_stalled",
            True,
            f"{_lanes(redis.stalled)} stalled: submissions{_of_whom(waiting, names)} wait, and none was applied for a "
            "while.",
            "`lane_paused` in the workers' log says why, if a worker runs; `/engines` of the console shows the lanes.",
            waiting,
        )
    yield from _of_bounds(state, names, max_backlog_bytes)


def _of_workers(state: State, names: Names) -> Iterator[Trouble]:
    redis = state.redis
    if redis is None:
        return
    waiting = _most_waiting(state, state.waiting)
    rest = f": submissions{_of_whom(waiting, names)} wait." if waiting else ": nothing is applied."
    if frozen := redis.frozen:
        much = f"{len(frozen)} of {counted(len(frozen) + len(redis.living), 'worker')}"
        told = f"{much} {'has' if len(frozen) == 1 else 'have'} not reported for some seconds"
        more = f" and {len(frozen) - _NAMED:,} more" if len(frozen) > _NAMED else ""
        yield Trouble(
            "frozen_worker",
            not redis.living,
            f"{told}, as if frozen or killed: {', '.join(frozen[:_NAMED])}{more}{'.' if redis.living else rest}",
            "The name is host, pid and a random part: see its log, end that process and start another one.",
            () if redis.living else waiting,
        )
    elif not redis.living:
        yield Trouble("no_worker", True, f"No worker runs{rest}", "Start workers: `python -m workers`.", waiting)


def _of_bounds(state: State, names: Names, max_backlog_bytes: int) -> Iterator[Trouble]:
    redis = state.redis
    if redis is None:
        return
    waiting = sum(lane.bytes for lane in redis.lanes)
    if (share := 100 * waiting // max_backlog_bytes) >= _NEARLY:
        senders = _most_waiting(state, state.waiting, waiting * _MUCH // 100)
        most = f" Most of it is{_of_whom(senders, names)}." if senders else ""
        yield Trouble(
            "backlog_full",
            True,
            f"The backlog is at {share} % of MAX_BACKLOG_BYTES: at its bound, submissions are answered 503.{most}",
            "Find out why so much waits, start more workers, or raise the bound if Redis has the memory.",
            senders,
        )
    if redis.memory_limit and (share := 100 * redis.memory // redis.memory_limit) >= _NEARLY:
        yield Trouble(
            "redis_full",
            True,
            f"Redis uses {share} % of its `maxmemory`: at its bound, submissions are answered 503.",
            "Give Redis more memory, or set MAX_BACKLOG_BYTES lower.",
        )


def _of_connectors(database: DatabaseState, names: Names) -> Iterator[Trouble]:
    for group in database.dead:
        ids = tuple(group["connector_ids"])
        yield Trouble(
            "dead_letters",
            False,
            f"{counted(group['letters'], 'dead letter')} of {_whom(ids, names)}: {meaning_of(group['reason'])}.",
            f"Look: `ingestctl dead list --fingerprint {group['fingerprint']}`; then `dead retry` or `dead drop`.",
            ids,
        )
    yield from _of_refusals(database, names)
    for silence, kind, words, remedy in _SILENCES:
        if ids := tuple(row["connector_id"] for row in database.connectors if row["silence"] == silence):
            whom = _whom(ids, names)
            yield Trouble(kind, False, f"{whom[0].upper()}{whom[1:]} {words}.", remedy, ids)


_SILENCES: Final = (
    ("quiet", "quiet", "stopped sending", "Look at the machine or source that it runs on."),
    ("never", "never_seen", "never sent anything", "Check its address and credential."),
)


def _of_refusals(database: DatabaseState, names: Names) -> Iterator[Trouble]:
    """Yield one trouble for each code, and reason of a 401, however many connectors and places it concerns."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for group in database.refusals:
        if group["connector_id"] in names:
            groups.setdefault((group["code"], group["reason"] or ""), []).append(group)
    counts = {key: sum(group["count"] for group in found) for key, found in groups.items()}
    for (code, reason), found in sorted(groups.items(), key=lambda one: -counts[one[0]]):
        by_connector: Counter[int] = Counter()
        for group in found:
            by_connector[group["connector_id"]] += group["count"]
        ids = tuple(connector_id for connector_id, _ in by_connector.most_common())
        kind, words, remedy = _refusal(found[0], code, reason, several=len(ids) > 1)
        whom, last = _whom(ids, names), max(group["last_at"] for group in found)
        times = f"{counted(counts[code, reason], 'request')} in 15 minutes, the last at {last:%H:%M:%S} UTC"
        yield Trouble(kind, False, f"{whom[0].upper()}{whom[1:]} {words}: {times}.", remedy, ids)


def _refusal(group: dict[str, Any], code: str, reason: str, *, several: bool) -> tuple[str, str, str]:
    """Return kind, words and remedy for what is refused with a code; `group` is the most frequent of it."""
    spec = ErrorCode.__members__.get(code.upper())
    if code == "unauthorized" and reason in ("rotated", "deleted", "disabled"):
        kind, one, many = "stale_key", f"still uses a key that was {reason}", f"still use keys that were {reason}"
        return kind, many if several else one, REASONS[reason]
    if known := _REFUSALS.get(code):
        kind, one, many, remedy = known
        return kind, many if several else one, remedy
    if spec and spec.value.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        words = f"{'were' if several else 'was'} answered {spec.value.status} {code}"
        return (
            "unavailable",
            words,
            "Clients retry this by themselves: look for a trouble of engines or backlog, else into the API's log.",
        )
    at = f" at {group['path_pattern']}" if group["path_pattern"] else ""
    why = f"{code} ({reason.replace('_', ' ')})" if reason else f"{code}{at}"
    return "refused", f"{'are' if several else 'is'} refused, {why}", REASONS.get(reason) or group["message"]


#: What it means to be refused with some codes: kind, words for one and for several connectors, remedy.
_REFUSALS: Final = {
    "rate_limited": (
        "over_limit",
        "sends more than its rate allows",
        "send more than their rates allow",
        "Larger batches, or `ingestctl connector set` with a higher rate.",
    ),
    "connector_backlog_full": (
        "connector_backlog_full",
        "sends faster than it is applied",
        "send faster than they are applied",
        "Add workers, or find out why its lane is slow.",
    ),
}


def _most_waiting(state: State, lanes: Iterable[int], at_least: int = 0) -> tuple[int, ...]:
    """Return the connectors with most bytes in the backlogs of some lanes, the first first."""
    found = Counter[int]()
    for lane in lanes:
        found.update(state.waiting.get(lane, {}))
    return tuple(connector_id for connector_id, size in found.most_common() if size >= at_least)


def _of_whom(ids: Sequence[int], names: Names) -> str:
    return f" of {_whom(ids, names)}" if ids else ""


def _whom(ids: Sequence[int], names: Names) -> str:
    """Return `connector 7 (crm)`, or `7 connectors (crm, hr, … and 2 more)`."""
    if len(ids) == 1:
        name = names.get(ids[0])
        return f"connector {ids[0]}{f' ({name})' if name else ''}"
    named = ", ".join(names.get(one, str(one)) for one in ids[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return f"{len(ids):,} connectors ({named}{more})"


def _lanes(numbers: list[int]) -> str:
    return f"Lane {numbers[0]} is" if len(numbers) == 1 else f"Lanes {', '.join(map(str, numbers))} are"
