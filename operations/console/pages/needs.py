"""What needs an operator now, the worst first: what is wrong, whom it concerns, what to do, where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operations.console.pages.survey import STATES, Survey
from shared.process.settings import Settings
from shared.redis.lane_status import RedisState

#: Share of the backlog's bound, in percent, from which it is told.
_NEARLY = 80


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs an operator."""

    is_urgent: bool
    sentence: str
    remedy: str
    address: str


def needs(survey: Survey | None, redis: RedisState | None, stalled: list[int], settings: Settings) -> list[Need]:
    """Return what needs an operator, as far as it could be read."""
    found = list(_of_engines(redis, stalled, settings)) if redis else []
    return [*found, *(_of_connectors(survey) if survey else [])]


def _of_engines(redis: RedisState, stalled: list[int], settings: Settings) -> Iterator[Need]:
    if not redis.workers:
        yield Need(True, "No worker runs: nothing is applied.", "Start workers: `python -m workers`.", "/engines")
    if not redis.sweeper:
        yield Need(True, "No sweeper acts: lanes may stop.", "Start one: `python -m workers.sweep`.", "/engines")
    if unready := [lane.number for lane in redis.lanes if not lane.ready]:
        yield Need(
            True,
            f"{_lanes(unready)} not ready: submissions there are answered 503.",
            "A sweeper or API process loads them as soon as Postgres answers.",
            "/engines",
        )
    if stalled:
        yield Need(
            True,
            f"{_lanes(stalled)} stalled: entries wait, and none was applied for a while.",
            "The engine room names their connectors; the workers' log says why.",
            "/engines",
        )
    waiting = sum(lane.bytes for lane in redis.lanes)
    share = 100 * waiting // settings.max_backlog_bytes
    if share >= _NEARLY:
        yield Need(
            True,
            f"The backlog is at {share} % of its bound: soon submissions are answered 503.",
            "Start more workers, or see what Postgres waits for.",
            "/engines",
        )


def _of_connectors(survey: Survey) -> Iterator[Need]:
    counts = survey.counts()
    if survey.unknown and survey.unknown["refused"]:
        refused = survey.unknown["refused"]
        yield Need(
            False,
            f"{refused:,} requests of no known connector were refused since {survey.since:%H:%M} UTC.",
            "Wrong keys, wrong addresses, or guesses: the refusals say which.",
            "/refusals?connector=0",
        )
    for state, (words, remedy) in STATES.items():
        if remedy and state != "disabled" and counts[state]:
            first = next(row for row in survey.rows if state in row["problems"])
            whom = "1 connector" if counts[state] == 1 else f"{counts[state]:,} connectors"
            verb = words if counts[state] == 1 else words.replace("is ", "are ").replace("has ", "have ")
            address = f"/connectors/{first['connector_id']}" if counts[state] == 1 else f"/connectors?state={state}"
            yield Need(
                state in ("dead", "late"),
                f"{whom} {verb}: {first['name']}{' and others' if counts[state] > 1 else ''}.",
                remedy,
                address,
            )


def _lanes(numbers: list[int]) -> str:
    return f"Lane {numbers[0]} is" if len(numbers) == 1 else f"Lanes {', '.join(map(str, numbers))} are"
