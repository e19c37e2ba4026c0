"""All SQL, in `.sql` files by subject, found by name: `sql("upsert_items")`.

A query is a line `-- name: <name>`, a line that says what it does, and one statement. Names are unique over all files.
What several queries share is said once, under `-- fragment: <name>`, and stands for a line `-- include: <name>`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import Final

_FILES: Final = ("configurations", "connectors", "dead_letters", "items", "lanes", "logs", "partitions", "submissions")
_HEADER: Final = re.compile(r"^-- (?:name|fragment): (\w+)$", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


@lru_cache
def queries() -> dict[str, bytes]:
    """Return every query by name, as psycopg takes it (bytes: they never come from a user)."""
    found: dict[str, str] = {}
    for file in _FILES:
        text = resources.files(__name__).joinpath(f"{file}.sql").read_text("utf-8")
        _, *parts = _HEADER.split(text)
        for name, statement in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"the query {name} stands in two files")
            found[name] = statement.strip().rstrip(";")
    return {name: _INCLUDE.sub(lambda line: found[line[1]], text).encode() for name, text in found.items()}


def sql(name: str) -> bytes:
    """Return the statement of one query."""
    return queries()[name]
