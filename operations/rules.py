"""What operators may choose: names of connectors, how much they may send. Errors are sentences for the operator."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

from shared.causes import SentenceError

#: Maximum characters of a connector's name.
LONGEST_NAME: Final = 200
#: Bounds in requests a second. The upper one is far above what a process can answer; the lower one keeps the time to
#: fill a bucket, which is its expiry in Redis, within what Redis accepts.
SLOWEST_RATE: Final = 0.001
FASTEST_RATE: Final = 1_000_000
LARGEST_BURST: Final = 1_000_000
#: Form of the name of an operator or a token.
ACCOUNT_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"


def connector_name(value: str) -> str:
    """Return a connector's name without the white space around it."""
    name = value.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise SentenceError(f"A connector's name must have 1 to {LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise SentenceError("A connector's name must not contain control characters.")
    return name


def request_rate(value: float) -> float:
    """Return a rate in requests a second that a bucket can have."""
    # NaN compares as false with everything, so the bounds must be tested positively.
    if not (math.isfinite(value) and SLOWEST_RATE <= value <= FASTEST_RATE):
        raise SentenceError(f"A rate must be between {SLOWEST_RATE} and {FASTEST_RATE:,}.")
    return value


def request_burst(value: int) -> int:
    """Return how many requests a connector may send at once."""
    if not 1 <= value <= LARGEST_BURST:
        raise SentenceError(f"A burst must be between 1 and {LARGEST_BURST:,}.")
    return value


def account_name(value: str) -> str:
    """Return the name of an operator or a token."""
    if not re.fullmatch(ACCOUNT_NAME, value, re.ASCII):
        raise SentenceError(
            "A name must be 1 to 64 letters, digits, `.`, `_`, `@` or `-`, and begin with one of the first two."
        )
    return value
