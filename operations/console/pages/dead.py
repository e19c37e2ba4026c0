"""Dead letters by cause, then one by one; retry and drop of some or of all that match, after they were counted."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from operations import dead_letters
from operations.console.pages.names import names_of
from operations.console.pages.visit import Done, Form, Outcome, Question, Visit, whole_number
from operations.dead_documents import request_id_of
from operations.dead_letters import Filter, Selection
from operations.errors import NotFoundError
from operations.jobs import select_jobs
from operations.readable import counted, readable_bytes
from shared.causes import SentenceError
from shared.request_id import Position, position_of_request

_GROUPS: Final = 50
_LETTERS: Final = 50
#: Bytes of a body that are shown.
_SHOWN_BYTES: Final = 20_000
_CHANGES: Final = {"retry": "Retry", "drop": "Drop"}
_TOLD: Final = {
    "Retry": "Each is applied in the order in which it was accepted, as of then: newer state stays.",
    "Drop": "They are deleted with their bodies.",
}
#: Fields that choose letters.
_KEPT: Final = ("which", "change", "letter", "connector", "reason", "fingerprint", "lift")


def show(visit: Visit) -> dict[str, Any]:
    """Show the causes, and the newest letters that pass the filters."""
    letters = _filter(dict(visit.request.query_params))
    with visit.engines.database() as connection:
        total = dead_letters.count(connection, letters)
        groups = dead_letters.select_groups(connection, letters, limit=_GROUPS)
        rows = dead_letters.select_letters(connection, letters, limit=_LETTERS)
        names = names_of(connection, [row["connector_id"] for row in rows])
    for row in rows:
        row["request_id"] = request_id_of(row)
    return {"total": total, "groups": groups, "rows": rows, "names": names, "letters": letters}


def show_one(visit: Visit) -> dict[str, Any]:
    """Show one letter, with its body if the role sees values."""
    position = position_of_request(visit.request.path_params["request_id"])
    with visit.engines.database() as connection:
        letter = dead_letters.read(connection, position) if position else None
        if letter is None:
            raise NotFoundError("There is no such dead letter any more: it was applied or dropped.")
        names = names_of(connection, [letter["connector_id"]])
    is_shown = visit.session.role.sees_values
    body = bytes(letter["body"][:_SHOWN_BYTES]).decode(errors="backslashreplace") if is_shown else None
    letter["request_id"] = visit.request.path_params["request_id"]
    return {"letter": letter, "body": body, "cut": letter["bytes"] > _SHOWN_BYTES, "names": names}


def change(visit: Visit, form: Form) -> Outcome:
    """Retry or drop the letters that are ticked, or all that pass the filters, once their number is confirmed."""
    change = form.get("change", "")
    if change not in _CHANGES:
        raise SentenceError("Choose whether to retry or to drop them.")
    letters = _filter(form) if form.get("which") == "all" else Filter(positions=_positions(form))
    if form.get("which") != "all" and not letters.positions:
        raise SentenceError("No letter is ticked. Go back and tick some, or choose all of them.")
    if form.get("confirmed") != "yes":
        with visit.engines.database() as connection:
            return _question(dead_letters.count(connection, letters), form, _CHANGES[change])
    selection = _confirmed(letters, form)
    work = partial(getattr(dead_letters, change), selection=selection, actor=visit.actor)
    job_id = visit.engines.jobs.start(f"dead.{change}", visit.actor, selection.letters, work)
    return Done(f"/jobs/{job_id}", "")


def show_job(visit: Visit) -> dict[str, Any]:
    """Show how far a job is."""
    with visit.engines.database() as connection:
        return {"job": select_jobs(connection, job_id=visit.number("job_id"))[0]}


def _confirmed(letters: Filter, form: Form) -> Selection:
    """Return the selection that was counted: letters that died since are not part of it."""
    counted = whole_number(form.get("counted", ""))
    try:
        until = datetime.fromisoformat(form.get("until", ""))
    except ValueError:
        counted = None
    if counted is None:
        raise SentenceError("The letters were not counted. Go back and choose them again.")
    return Selection(letters, counted, 0, 0, until, lift_bound=form.get("lift") == "yes")


def _question(selection: Selection, form: Form, words: str) -> Question:
    if not selection.letters:
        raise SentenceError("There are no such dead letters any more.")
    connectors = counted(selection.connectors, "connector")
    back = form.get("back", "/dead")
    return Question(
        title=f"{words} {counted(selection.letters, 'dead letter')}?",
        sentences=(
            f"They are of {connectors}, {readable_bytes(selection.bytes)} in all.",
            "Those that die from now on are not among them.",
            _TOLD[words],
        ),
        button=f"{words} {counted(selection.letters, 'dead letter')}",
        fields={
            **{name: form[name] for name in _KEPT if name in form},
            "until": selection.until.isoformat(),
            "counted": selection.letters,
        },
        back=back if back.startswith("/dead") else "/dead",
        is_final=words == "Drop",
    )


def _filter(given: dict[str, str]) -> Filter:
    return Filter(
        connector_id=whole_number(given.get("connector", "")),
        reason=given.get("reason", "").replace("\0", "") or None,
        fingerprint=given.get("fingerprint", "").replace("\0", "") or None,
    )


def _positions(form: Form) -> tuple[Position, ...]:
    found = map(position_of_request, form.get("letter", "").split(","))
    return tuple(one for one in found if one)
