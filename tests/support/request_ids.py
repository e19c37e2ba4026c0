"""The documented form of a request id: lane, time and sequence of an accepted submission."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MILLISECOND_BITS, _SEQUENCE_BITS, _LETTERS = 42, 18, 14


def request_id_of(lane: int, entry_id: bytes) -> str:
    """Return the request id of an entry (`1700000000000-3`) of a lane's stream."""
    milliseconds, sequence = map(int, entry_id.decode().split("-"))
    bits = ((lane << _MILLISECOND_BITS) | milliseconds) << _SEQUENCE_BITS | sequence
    return "req_" + "".join(_ALPHABET[bits >> 5 * place & 31] for place in reversed(range(_LETTERS)))


def lane_of(request_id: str) -> int:
    """Return the lane of an accepted submission."""
    return _bits(request_id) >> (_MILLISECOND_BITS + _SEQUENCE_BITS)


def entry_of(request_id: str) -> bytes:
    """Return the id of the entry in its lane's stream."""
    bits = _bits(request_id)
    milliseconds = bits >> _SEQUENCE_BITS & ((1 << _MILLISECOND_BITS) - 1)
    return b"%d-%d" % (milliseconds, bits & ((1 << _SEQUENCE_BITS) - 1))


def neighbours_of(request_id: str) -> list[str]:
    """Return the ids next to this one, which an attacker would guess."""
    lane = lane_of(request_id)
    milliseconds, sequence = map(int, entry_of(request_id).split(b"-"))
    near = [(milliseconds + step, sequence + more) for step in (-1, 0, 1) for more in (-1, 0, 1, 2)]
    return [request_id_of(lane, b"%d-%d" % pair) for pair in near if pair[1] >= 0 and pair != (milliseconds, sequence)]


def _bits(request_id: str) -> int:
    bits = 0
    for letter in request_id.removeprefix("req_"):
        bits = bits << 5 | _ALPHABET.index(letter)
    return bits
