"""Groups dead letters by their cause: the same fault in another body has the same fingerprint.

Pure. What stays of a detail is its first line, since Postgres quotes the data in those below it, without numbers and
quoted values. Names that Postgres quotes because they are ours (a column, a constraint) are the cause and stay, as do
the types that msgspec names in backticks.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

#: Hexadecimal digits: an operator types them, and an installation has dozens of causes at most.
_DIGITS: Final = 8
#: What is looked at: a value that is quoted whole may be megabytes.
_LONGEST_LINE: Final = 2_000

#: In this order. A value that ends a line may hold quotes itself; an apostrophe within a word quotes nothing.
_CHANGING: Final = (
    (re.compile(r": [\"'].*"), ": ?"),
    (re.compile(r"(?<!column )(?<!relation )(?<!constraint )(?<!type )\"[^\"]*\""), "?"),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)"), "?"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\d+"), "#"),
)


def fingerprint(reason: str, detail: str) -> str:
    """A short name of the cause."""
    return hashlib.sha256(f"{reason}\n{cause(detail)}".encode(errors="replace")).hexdigest()[:_DIGITS]


def cause(detail: str) -> str:
    """A detail without what changes from one body to the next."""
    line = detail.strip().partition("\n")[0][:_LONGEST_LINE]
    for pattern, replacement in _CHANGING:
        line = pattern.sub(replacement, line)
    return line
