"""The overview: what is wrong now, what to do, and what goes through."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

from operations.console.pages.survey import Survey, Surveyor
from operations.console.pages.traffic import RANGES, Traffic, TrafficOfAll
from operations.console.pages.visit import Visit
from operations.troubles import Trouble

_TALKERS: Final = 5
#: Troubles that are shown one by one.
_TROUBLES: Final = 25
_REFUSED: Final = ("/refusals?connector={}", "/refusals")
#: Where a trouble of connectors is looked at: of one connector, of several. Any other kind: in the engine room.
_PAGES: Final = {
    **dict.fromkeys(("refused", "stale_key", "connector_backlog_full", "unavailable"), _REFUSED),
    "dead_letters": ("/dead?connector={}", "/dead"),
    "over_limit": ("/connectors/{}/settings", "/refusals"),
    "quiet": ("/connectors/{}", "/connectors?state=quiet"),
    "never_seen": ("/connectors/{}", "/connectors?state=never"),
}
#: What to do about a trouble whose remedy names a command, on these pages.
_REMEDIES: Final = {
    "dead_letters": "Read why; then retry them, once the cause is gone, or drop them.",
    "over_limit": "Let it send larger batches, or raise its rate under “Key, limits, hooks”.",
    "lane_stalled": "The workers' log says why; the engine room shows which connectors have most in it.",
}


class Overview:
    """The first page."""

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor
        self._traffic = TrafficOfAll()

    def show(self, visit: Visit) -> dict[str, Any]:
        """Show the state, what needs an operator, the traffic and the connectors that send most."""
        name = visit.choice("range", list(RANGES))
        survey = self._surveyor.survey()
        visit.faults.extend(survey.faults())
        known = survey.state.database is not None
        return {
            "survey": survey,
            "redis": survey.state.redis,
            "bound": visit.engines.settings.max_backlog_bytes,
            "troubles": [
                (trouble, address_of(trouble), _REMEDIES.get(trouble.kind, trouble.remedy))
                for trouble in survey.troubles[:_TROUBLES]
            ],
            "further": max(0, len(survey.troubles) - _TROUBLES),
            "range": name,
            "ranges": [(key, label) for key, (label, _, _) in RANGES.items()],
            "traffic": visit.attempt(lambda: self._over(visit, name)) if known else None,
            "talkers": talkers(survey),
        }

    def _over(self, visit: Visit, name: str) -> Traffic:
        with visit.engines.database() as connection:
            return self._traffic.over(connection, name, datetime.now(UTC))


def address_of(trouble: Trouble) -> str:
    """Return the page on which a trouble is looked at."""
    ids = trouble.connector_ids
    one, several = _PAGES.get(trouble.kind, ("/engines", "/engines"))
    return one.format(ids[0]) if len(ids) == 1 else several


def talkers(survey: Survey) -> dict[str, list[dict[str, Any]]]:
    """Return the connectors with most items, bytes and refusals."""
    measures = ("items", "bytes", "refused")
    most = {one: heapq.nlargest(_TALKERS, survey.rows, key=itemgetter(one)) for one in measures}
    return {measure: [row for row in rows if row[measure]] for measure, rows in most.items()}
