"""Request ids: `req_` and 14 base32 characters that encode the position of an accepted submission.

The 70 bits are lane (10), milliseconds (42) and sequence (18), so a queued entry is found by its own id,
and an applied one by its receipt's key. Every other answer gets a random id of the same form on a lane that never
exists. The alphabet is in ASCII order, so ids of one lane sort by age.
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
#: Largest milliseconds of an entry id, in the year 2109; the append script enforces it.
MAX_MILLISECONDS: Final = (1 << _MILLISECOND_BITS) - 1
#: Maximum number of lanes; lane 1023 marks the ids of answers that accepted nothing.
MAX_LANES: Final = 1023
#: Largest sequence of an entry id within a millisecond; the append script enforces it.
MAX_SEQUENCE: Final = (1 << _SEQUENCE_BITS) - 1
#: Bits of the sequence in a version, which is stored in Postgres.
_VERSION_SEQUENCE_BITS: Final = 20


class Position(msgspec.Struct, frozen=True):
    """The lane of an accepted submission and the id of its stream entry."""

    lane: int
    milliseconds: int
    sequence: int

    @property
    def entry_id(self) -> str:
        """Return the entry's id in the lane's stream."""
        return f"{self.milliseconds}-{self.sequence}"

    @property
    def received_at(self) -> datetime:
        """Return when the submission was accepted, by the clock of Redis."""
        return datetime.fromtimestamp(self.milliseconds / 1000, UTC)

    def received_by(self, moment: datetime) -> datetime:
        """Return when the submission was accepted, at the latest `moment`: the clock of Redis may have been ahead."""
        return min(self.received_at, moment)

    @property
    def version(self) -> int:
        """Return the version of this submission's writes in Postgres."""
        return self.milliseconds << _VERSION_SEQUENCE_BITS | self.sequence

    @property
    def request_id(self) -> str:
        """Return the id that the client was given."""
        return _spell((self.lane << _MILLISECOND_BITS | self.milliseconds) << _SEQUENCE_BITS | self.sequence)


def position_of_entry(lane: int, entry_id: bytes | str) -> Position:
    """Return the position of a stream entry with this id (`1700000000000-3`)."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return Position(lane, int(milliseconds), int(sequence))


def request_id_of_entry(lane: int, entry_id: bytes) -> str:
    """Return the request id of a stream entry; skips building a Position, since this runs once per request."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return _spell((lane << _MILLISECOND_BITS | int(milliseconds)) << _SEQUENCE_BITS | int(sequence))


def position_of_version(lane: int, version: int) -> Position:
    """Return the position of an applied submission with this version in its receipt."""
    return Position(lane, version >> _VERSION_SEQUENCE_BITS, version & ((1 << _VERSION_SEQUENCE_BITS) - 1))


def position_of_request(request_id: str) -> Position | None:
    """Return the position that an id encodes; None if it is malformed or belongs to an answer that accepted nothing."""
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
    """Return a random id for an answer that accepted nothing."""
    return _spell(MAX_LANES << (_MILLISECOND_BITS + _SEQUENCE_BITS) | secrets.randbits(60))


def _spell(bits: int) -> str:
    # Two characters at a time, since this runs once per request.
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
