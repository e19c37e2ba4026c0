"""The list of connectors, the worst first, with filters, and changes of those that are ticked or filtered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from operations.console.pages.survey import STATES, Survey, Surveyor
from operations.console.pages.visit import Done, Form, Outcome, Question, Shown, Visit
from operations.readable import readable_number
from operations.rules import LARGEST_BURST, connector_name, request_rate
from shared.causes import SentenceError
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.queries import sql
from shared.request_id import position_of_version

ON_A_PAGE: Final = 50
_MINUTES: Final = 30
#: What can be done to many connectors: the button's words, and what is told afterwards.
_CHANGES: Final = {
    "disable": ("Disable", "disabled"),
    "enable": ("Enable", "enabled"),
    "set": ("Set limits", "given other limits"),
    "rotate": ("Rotate the keys of", "given another key"),
}


class ConnectorList:
    """The list, and what its forms do."""

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor

    def show(self, visit: Visit) -> dict[str, Any]:
        """Show a page of the connectors that pass the filters."""
        survey = self._surveyor.connectors()
        visit.faults.extend(survey.faults())
        state = visit.choice("state", ["", *STATES])
        found = passing(survey, state, visit.text("q"))
        page = max(1, int(visit.choice("page", [str(number) for number in range(1, len(found) // ON_A_PAGE + 2)])))
        rows = found[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
        minutes = (survey.at - survey.since).total_seconds() / 60
        return {
            "at": survey.at,
            "rows": rows,
            "found": len(found),
            "all": len(survey.rows),
            "state": state,
            "states": STATES,
            "counts": survey.counts(),
            "q": visit.text("q") or "",
            "page": page,
            "pages": (len(found) + ON_A_PAGE - 1) // ON_A_PAGE,
            "minutes": minutes,
            "since": survey.since,
            "sparks": _sparks(visit, [row["connector_id"] for row in rows]),
            "rate": DEFAULT_RATE,
            "burst": DEFAULT_BURST,
        }

    def create(self, visit: Visit, form: Form) -> Outcome:
        """Create a connector, and show its credential once."""
        name = connector_name(form.get("name", ""))
        with visit.engines.connectors(visit.actor) as connectors:
            made = connectors.create(name, rate=rate_of(form) or DEFAULT_RATE, burst=burst_of(form) or DEFAULT_BURST)
        self._surveyor.forget()
        shown = [(made.connector_id, made.name, made.credential.text)]
        return Shown("credentials.html", {"made": shown, "back": f"/connectors/{made.connector_id}"})

    def change(self, visit: Visit, form: Form) -> Outcome:
        """Change the connectors that are ticked, or all that pass the filters, after a question."""
        chosen = self._chosen(form)
        change = form.get("change", "")
        if change not in _CHANGES:
            raise SentenceError("Choose what to do with the connectors.")
        words, done = _CHANGES[change]
        limits = {"rate": rate_of(form), "burst": burst_of(form)}
        if change == "set" and not any(limits.values()):
            raise SentenceError("Give a rate or a burst to set.")
        if form.get("confirmed") != "yes":
            return _question(form, chosen, f"{words} {_number(len(chosen))}", limits if change == "set" else {})
        ids = [row["connector_id"] for row in chosen]
        with visit.engines.connectors(visit.actor) as connectors:
            if change == "rotate":
                made = connectors.rotate_many(ids)
                self._surveyor.forget()
                shown = [(row["connector_id"], row["name"], made[row["connector_id"]].text) for row in chosen]
                return Shown("credentials.html", {"made": shown, "back": "/connectors"})
            if change == "set":
                connectors.change(ids, None, **limits)
            else:
                connectors.change(ids, enabled=change == "enable")
        self._surveyor.forget()
        return Done(_back(form), f"{_number(len(ids))} {'is' if len(ids) == 1 else 'are'} {done}.")

    def _chosen(self, form: Form) -> list[dict[str, Any]]:
        survey = self._surveyor.connectors()
        if form.get("which") == "all" and form.get("confirmed") != "yes":
            chosen = passing(survey, form.get("state", ""), form.get("q") or None)
        else:
            ids = set(form.numbers("connector"))
            chosen = [row for row in survey.rows if row["connector_id"] in ids]
        if not chosen:
            raise SentenceError("No connector is ticked. Go back and tick some, or choose all of the list.")
        return chosen


def passing(survey: Survey, state: str, text: str | None) -> list[dict[str, Any]]:
    """Return the connectors that have a problem and whose name, id or key contains a text; '' and None: all."""
    wanted = (text or "").casefold()
    return [
        row
        for row in survey.rows
        if (not state or state in row["problems"])
        and (not wanted or wanted in row["name"].casefold() or wanted in (str(row["connector_id"]), row["key_id"]))
    ]


def _question(form: Form, chosen: list[dict[str, Any]], title: str, limits: dict[str, float | int | None]) -> Question:
    told = {
        "disable": "Their credentials and hooks are refused everywhere from then on, until they are enabled again.",
        "enable": "Their credentials are accepted again.",
        "set": "It holds from the next request on: "
        + ", ".join(f"{name} {readable_number(value)}" for name, value in limits.items() if value)
        + ".",
        "rotate": "The old keys are refused everywhere at once; the new ones are shown once, on the next page.",
    }[form["change"]]
    fields = {"connector": ",".join(str(row["connector_id"]) for row in chosen), "change": form["change"]}
    return Question(
        title=f"{title}?",
        sentences=(
            f"{_number(len(chosen))} of {form.get('of', 'the list')} will be changed, all of them or none.",
            told,
        ),
        button=title,
        fields={
            **fields,
            **{name: value for name, value in limits.items() if value},
            "back": _back(form),
        },
        back=_back(form),
        names=[f"{row['connector_id']} {row['name']}" for row in chosen],
    )


def _back(form: Form) -> str:
    given = form.get("back", "")
    return given if given.startswith("/connectors") else "/connectors"


def _number(count: int) -> str:
    return "1 connector" if count == 1 else f"{count:,} connectors"


def rate_of(form: Form) -> float | None:
    """Return the rate that a form has, None if it has none."""
    return request_rate(_number_in(form, "rate")) if form.get("rate", "").strip() else None


def burst_of(form: Form) -> int | None:
    """Return the burst that a form has, None if it has none."""
    if not form.get("burst", "").strip():
        return None
    burst = _number_in(form, "burst")
    if not (1 <= burst <= LARGEST_BURST and burst == int(burst)):
        raise SentenceError(f"A burst must be a whole number between 1 and {LARGEST_BURST:,}.")
    return int(burst)


def _number_in(form: Form, name: str) -> float:
    try:
        return float(form[name])
    except ValueError:
        raise SentenceError(f"The {name} must be a number.") from None


def _sparks(visit: Visit, connector_ids: list[int]) -> dict[int, list[float]]:
    """Return the items of the last minutes of each connector."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    first = now - timedelta(minutes=_MINUTES - 1)
    values = {"connector_ids": connector_ids, "since": round(first.timestamp() * 1000) << 20}
    found: dict[int, list[float]] = {one: [0.0] * _MINUTES for one in connector_ids}
    with visit.engines.database() as connection:
        for row in connection.execute(sql("select_minutes_of"), values):
            place = int((position_of_version(0, row["version"]).received_at - first).total_seconds() // 60)
            if 0 <= place < _MINUTES:
                found[row["connector_id"]][place] = float(row["items"])
    return found
