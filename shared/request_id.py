"""Request ids: `req_` and 14 characters that say where an accepted submission is to be found.

Of an accepted request: lane (10 bits), milliseconds (42), sequence (18), 70 bits in base32. So a queued entry is found
with one XRANGE and no index, and an applied one by its receipt's key. Any other answer gets a random id of the same
form, on a lane that never exists. The alphabet is in ASCII order, so ids of one lane sort by age.

    req_ LL TTTTTTTT SSSS      (bits, not characters: 10 · 42 · 18)
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Final

import msgspec

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_FORM: Final = re.compile(rf"req_([{_ALPHABET}]{{14}})")
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)

_MILLISECOND_BITS: Final = 42
_SEQUENCE_BITS: Final = 18
#: Lanes are 0 to 1022; the last one marks the ids of answers that accepted nothing.
MAX_LANES: Final = 1023
#: Entry ids stay below this sequence within a millisecond: the append script sees to it.
MAX_SEQUENCE: Final = (1 << _SEQUENCE_BITS) - 1
#: A version leaves room for 20 bits of sequence.
_VERSION_SEQUENCE_BITS: Final = 20


class Position(msgspec.Struct, frozen=True):
    """Where an accepted submission stands: the lane and the stream entry's id."""

    lane: int
    milliseconds: int
    sequence: int

    @property
    def entry_id(self) -> str:
        """The entry's id in the lane's stream."""
        return f"{self.milliseconds}-{self.sequence}"

    @property
    def received_at(self) -> datetime:
        """When it was accepted, by Redis' clock."""
        return datetime.fromtimestamp(self.milliseconds / 1000, UTC)

    @property
    def version(self) -> int:
        """The version that this submission's writes carry in Postgres."""
        return self.milliseconds << _VERSION_SEQUENCE_BITS | self.sequence

    @property
    def request_id(self) -> str:
        """The id that the submission's sender was given."""
        return _spell((self.lane << _MILLISECOND_BITS | self.milliseconds) << _SEQUENCE_BITS | self.sequence)


def position_of_entry(lane: int, entry_id: bytes | str) -> Position:
    """The position of a stream entry, from its id (`1700000000000-3`)."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return Position(lane, int(milliseconds), int(sequence))


def request_id_of_entry(lane: int, entry_id: bytes) -> str:
    """The request id of a stream entry, without the position between: this runs once per request."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return _spell((lane << _MILLISECOND_BITS | int(milliseconds)) << _SEQUENCE_BITS | int(sequence))


def position_of_version(lane: int, version: int) -> Position:
    """The position of an applied submission, from the version in its receipt."""
    return Position(lane, version >> _VERSION_SEQUENCE_BITS, version & ((1 << _VERSION_SEQUENCE_BITS) - 1))


def position_of_request(request_id: str) -> Position | None:
    """The position that an id names; None where it has another form or was never given to an accepted request."""
    match = _FORM.fullmatch(request_id)
    if match is None:
        return None
    bits = 0
    for letter in match[1]:
        bits = bits << 5 | _VALUES[letter]
    sequence = bits & MAX_SEQUENCE
    milliseconds = bits >> _SEQUENCE_BITS & ((1 << _MILLISECOND_BITS) - 1)
    lane = bits >> (_SEQUENCE_BITS + _MILLISECOND_BITS)
    return Position(lane, milliseconds, sequence) if lane < MAX_LANES else None


def unaccepted_request_id() -> str:
    """A random id for an answer that accepted nothing."""
    return _spell(MAX_LANES << (_MILLISECOND_BITS + _SEQUENCE_BITS) | secrets.randbits(60))


def _spell(bits: int) -> str:
    # Two letters at a time: this runs once per request.
    pairs = _PAIRS
    return (
        "req_"
        + pairs[bits >> 60]
        + pairs[bits >> 50 & 1023]
        + pairs[bits >> 40 & 1023]
        + pairs[bits >> 30 & 1023]
        + pairs[bits >> 20 & 1023]
        + pairs[bits >> 10 & 1023]
        + pairs[bits & 1023]
    )
