"""Builds columns of rows as Postgres takes arrays in binary.

Pure. psycopg asks a dumper for each element: 5.7 µs for the seven columns of an item, where this takes 3.1. An array
on the wire is a header (dimensions, whether it has nulls, the elements' type, their number, the first index) and the
elements, each behind its length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_HEADER: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
_LENGTH_AND_VERSION: Final = struct.Struct(">ib")
_BIGINT: Final = struct.Struct(">iq")
_NULL: Final = _LENGTH.pack(-1)
_JSONB_VERSION: Final = 1
_BIGINT_OID, _TEXT_OID, _JSONB_OID = 20, 25, 3802


@dataclass(frozen=True, slots=True)
class BinaryArray:
    """An array on the wire."""

    data: bytes


class BigintArray(BinaryArray):
    """bigint[]."""

    __slots__ = ()


class TextArray(BinaryArray):
    """text[]."""

    __slots__ = ()


class JsonbArray(BinaryArray):
    """jsonb[]."""

    __slots__ = ()


def bigint(value: int) -> bytes:
    """Return one element of a bigint[]."""
    return _BIGINT.pack(8, value)


def text(value: str | None) -> bytes:
    """Return one element of a text[]."""
    if value is None:
        return _NULL
    data = value.encode()
    return _LENGTH.pack(len(data)) + data


def bigint_array(elements: Sequence[bytes]) -> BigintArray:
    """Return an array of what `bigint` made."""
    return BigintArray(b"".join((_header(_BIGINT_OID, len(elements)), *elements)))


def text_array(elements: Sequence[bytes]) -> TextArray:
    """Return an array of what `text` made."""
    return TextArray(b"".join((_header(_TEXT_OID, len(elements)), *elements)))


def jsonb_array(values: Sequence[msgspec.Raw]) -> JsonbArray:
    """Return an array of JSON texts: binary jsonb is a version byte and the text, which goes through as it came."""
    parts: list[bytes | msgspec.Raw] = [_header(_JSONB_OID, len(values))]
    for value in values:
        parts += (_LENGTH_AND_VERSION.pack(len(value) + 1, _JSONB_VERSION), value)
    return JsonbArray(b"".join(parts))


def register(adapters: AdaptersMap) -> None:
    """Register the arrays with a connection's adapters."""
    for made, oid in ((BigintArray, 1016), (TextArray, 1009), (JsonbArray, 3807)):
        adapters.register_dumper(made, _dumper(oid))


def _header(oid: int, elements: int) -> bytes:
    # The flag for nulls costs nothing if there are none.
    return _HEADER.pack(1, 1, oid, elements, 1) if elements else _HEADER.pack(0, 0, oid, 0, 0)[:12]


def _dumper(array_oid: int) -> type[Dumper]:
    class AsItIs(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: BinaryArray) -> bytes:
            return obj.data

    return AsItIs
