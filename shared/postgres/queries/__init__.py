"""All SQL statements, in `.sql` files by subject, found by name: `sql("upsert_items")`.

A query is a line `-- name: <name>`, a comment that says what it does, and one statement. Its name is unique over all
files. What several queries share stands once, under `-- fragment: <name>`, and replaces a line `-- include: <name>`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import Final

_HEADER: Final = re.compile(r"^-- (?:name|fragment): (\w+)$", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


@lru_cache
def queries() -> dict[str, bytes]:
    """Return every query by name, as bytes: psycopg's type for SQL that is not built from user input."""
    found: dict[str, str] = {}
    for file in resources.files(__name__).iterdir():
        if not file.name.endswith(".sql"):
            continue
        _, *parts = _HEADER.split(file.read_text("utf-8"))
        for name, statement in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"The query {name} exists twice; the second one is in {file.name}.")
            found[name] = statement.strip().rstrip(";")
    return {name: _INCLUDE.sub(lambda line: found[line[1]], text).encode() for name, text in found.items()}


def sql(name: str) -> bytes:
    """Return the statement of one query."""
    return queries()[name]
