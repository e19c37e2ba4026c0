"""The overview: what is wrong now, what to do, and what goes through."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from operations.console.pages.needs import needs
from operations.console.pages.survey import Survey, Surveyor
from operations.console.pages.traffic import RANGES, traffic_over
from operations.console.pages.visit import Visit
from shared.redis.activity import last_sweep
from shared.redis.lane_status import look_at_redis

_TALKERS = 5


class Overview:
    """The first page."""

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor

    def show(self, visit: Visit) -> dict[str, Any]:
        """Show the state, what needs an operator, the traffic and who sends most."""
        now = datetime.now(UTC)
        name = visit.choice("range", list(RANGES))
        survey = visit.attempt(self._surveyor.survey)
        if survey:
            visit.faults.extend(survey.faults)
        redis = visit.attempt(lambda: look_at_redis(visit.engines.redis, None))
        stalled = visit.attempt(lambda: last_sweep(visit.engines.redis)) if redis else None
        with_traffic = visit.attempt(lambda: _traffic(visit, name, now)) if survey else None
        return {
            "survey": survey,
            "redis": redis,
            "bound": visit.engines.settings.max_backlog_bytes,
            "needs": needs(survey, redis, stalled or [], visit.engines.settings),
            "range": name,
            "ranges": [(key, label) for key, (label, _, _) in RANGES.items()],
            "traffic": with_traffic,
            "talkers": talkers(survey) if survey else {},
        }


def talkers(survey: Survey) -> dict[str, list[dict[str, Any]]]:
    """Return the connectors with most items, bytes and refusals."""
    return {
        measure: [row for row in sorted(survey.rows, key=lambda row: -row[measure])[:_TALKERS] if row[measure]]
        for measure in ("items", "bytes", "refused")
    }


def _traffic(visit: Visit, name: str, now: datetime) -> Any:
    with visit.engines.database() as connection:
        return traffic_over(connection, name, now)
