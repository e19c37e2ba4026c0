"""Groups dead letters by their cause: the same error in another body has the same fingerprint.

Pure. Of a detail, the first line is used (Postgres quotes the data in the lines below it), without numbers and quoted
values. Names of ours that Postgres quotes (a column, a constraint) are part of the cause and stay, like the types that
msgspec names in backticks.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

#: Hexadecimal digits of a fingerprint: an operator types them, and an installation has dozens of causes at most.
_DIGITS: Final = 8
#: Maximum characters of a detail that are read: a value that is quoted whole may be megabytes.
_LONGEST_LINE: Final = 2_000

#: Replaced in this order. A value at the end of a line may contain quotes; an apostrophe within a word quotes nothing.
_CHANGING: Final = (
    (re.compile(r": [\"'].*"), ": ?"),
    (re.compile(r"(?<!column )(?<!relation )(?<!constraint )(?<!type )\"[^\"]*\""), "?"),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)"), "?"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\d+"), "#"),
)


def fingerprint(reason: str, detail: str) -> str:
    """Return a short name of the cause."""
    return hashlib.sha256(f"{reason}\n{cause(detail)}".encode(errors="replace")).hexdigest()[:_DIGITS]


def cause(detail: str) -> str:
    """Return a detail without the parts that change from one body to the next."""
    line = detail.strip().partition("\n")[0][:_LONGEST_LINE]
    for pattern, replacement in _CHANGING:
        line = pattern.sub(replacement, line)
    return line
