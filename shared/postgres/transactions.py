"""How a transaction of ours begins, whatever a role, a database, the environment or a pooler has set for the session.

Pure. Behind a pooler in transaction mode each transaction may have another session: start-up options are refused or
ignored there, and a session's settings may be those of another client. So what we rely on is set within each
transaction (`queries/transactions.sql`), its time limits included.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from psycopg.sql import SQL, Literal

from shared.postgres.queries import sql

#: Parameters of Postgres and their values, in the order in which they are set.
Parameters = tuple[tuple[str, str], ...]

#: What bounds a transaction, unless its caller has bounds of its own.
LIMITS: Final[Parameters] = (
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
)
#: For rows that are printed as they are read: an operator may take their time.
NO_LIMITS: Final[Parameters] = tuple((name, "0") for name, _ in LIMITS)

_WORD: Final = re.compile(r"(?:\\.|\S)+", re.DOTALL)


@lru_cache
def opening(more: Parameters) -> bytes:
    """Return the statement that follows BEGIN: it sets what we rely on, and `more`."""
    rows = (SQL("({}, {})").format(Literal(name), Literal(value)) for name, value in more)
    return SQL(sql("set_session").decode()).format(more=SQL(", ").join(rows)).as_bytes()


def search_path_of(options: str, default: str) -> Parameters:
    """Return the `search_path` to set in each transaction: that of an address' `options`, or the role's default.

    A pooler may drop the options; and what another of its clients sets in a session stays there.
    """
    words = [re.sub(r"\\(.)", r"\1", word) for word in _WORD.findall(options)]
    assignments = [
        following if word == "-c" else word[2:]
        for word, following in zip(words, [*words[1:], ""], strict=False)
        if word.startswith(("-c", "--"))
    ]
    found = [value for name, equals, value in (one.partition("=") for one in assignments) if name == "search_path"]
    return (("search_path", [default, *found][-1]),)
