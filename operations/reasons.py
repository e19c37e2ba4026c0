"""Why a submission died, in words."""

from __future__ import annotations

import re
from typing import Final

from psycopg import errors

#: What workers find, and the refusals of Postgres that operators meet.
_MEANINGS: Final = {
    "unreadable": "the entry can't be read: it was damaged, or not written by the API",
    "too_many_removals": "a retain would have removed more items than its `atMost` allows",
    "22003": "a number is too large or too small for Postgres",
    "22021": "text is not valid in the database's encoding",
    "22P05": "a character can't be stored",
    "54000": "a value is larger than Postgres can hold",
    "23514": "a value breaks a rule of the table",
}


def meaning_of(reason: str) -> str:
    """Return a reason in words: an SQLSTATE, or what the worker found."""
    if known := _MEANINGS.get(reason):
        return known
    try:
        name = errors.lookup(reason).__name__
    except KeyError:
        return reason.replace("_", " ")
    return f"Postgres refused it: {re.sub(r'(?<!^)(?=[A-Z])', ' ', name).lower()}"
