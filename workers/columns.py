"""Pack rows into the columns of a statement, by the declarations of their kinds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from shared.kinds import KINDS
from shared.kinds.items import ITEM
from shared.kinds.shapes import Choice, Kind, Name, Primitives, Property, Shape, Table, Text, Timestamp, parameter_of
from workers.binary_arrays import BinaryArray, bigint, bigint_array, jsonb_array, text, text_array
from workers.decoding import UnreadableEntryError
from workers.fold import AppendedRow, Group, Part, Versioned
from workers.retained import Statement

#: Parameters of a statement over one part.
Columns = dict[str, Any]
#: Items of one connector and stream.
_Rows = tuple[Group, list[Versioned]]
#: The property that says what becomes of an item, and has no column.
_NOT_STORED: Final = "deleted"
#: Makes the column of a property from elements.
Packer = Callable[[Sequence[Any]], BinaryArray]


@dataclass(frozen=True, slots=True)
class PartColumns:
    """A part, packed for the wire."""

    items: Columns | None = None
    #: Keys and versions of items that are deleted.
    deleted: Columns | None = None
    #: Names of other queries, with their parameters.
    statements: list[Statement] = field(default_factory=list)
    #: Whether these remove items.
    removes: bool = False
    #: Number of different items that are not deleted.
    rows: int = 0


def columns_of(part: Part | Statement) -> PartColumns:
    """Return a part, packed."""
    if not isinstance(part, Part):
        return PartColumns(statements=[part], removes=True)
    # Sorted by key: two drains can't deadlock, and neighbours are written together.
    groups = [(group, [found[item_id] for item_id in sorted(found)]) for group, found in sorted(part.items.items())]
    states = [(group, [row for row in rows if not row[1].deleted]) for group, rows in groups]
    deleted = [(group, [row for row in rows if row[1].deleted]) for group, rows in groups]
    rows = sum(len(found) for _, found in states)
    gone = _deleted_columns(deleted)
    statements = [_insert(kind, appended) for kind, appended in part.appended.items() if appended]
    return PartColumns(
        {**_key_columns(states), **_property_columns(ITEM, _items(states))} if rows else None,
        gone,
        [*statements, ("delete_items", gone)] if gone else statements,
        gone is not None,
        rows,
    )


def _deleted_columns(groups: list[_Rows]) -> Columns | None:
    ids = [text(one.id) for one in _items(groups)]
    return {**_key_columns(groups), "ids": text_array(ids)} if ids else None


def _key_columns(groups: list[_Rows]) -> Columns:
    connectors: list[bytes] = []
    streams: list[bytes] = []
    for (connector_id, stream), rows in groups:
        connectors += [bigint(connector_id)] * len(rows)
        streams += [text(stream)] * len(rows)
    return {
        "connector_ids": bigint_array(connectors),
        "streams": text_array(streams),
        "versions": bigint_array([bigint(version) for _, rows in groups for version, _ in rows]),
    }


def _items(groups: list[_Rows]) -> list[Any]:
    return [item for _, rows in groups for _, item in rows]


def _insert(kind: str, rows: list[AppendedRow]) -> Statement:
    table, shape = _APPENDED[kind]
    connectors, versions, indexes, elements = zip(*rows, strict=True)
    return table.insert, {
        "connector_ids": bigint_array(list(map(bigint, connectors))),
        "versions": bigint_array(list(map(bigint, versions))),
        "indexes": bigint_array(list(map(bigint, indexes))),
        **_property_columns(shape, elements),
    }


def _property_columns(shape: Shape, elements: Sequence[Any]) -> Columns:
    return {name: pack(elements) for name, pack in _PACKERS[shape].items()}


def _appended(kind: Kind) -> tuple[Table, Shape] | None:
    shape = kind.body.elements[1].shape if isinstance(kind.body, Shape) else None
    return (kind.table, shape) if kind.table and isinstance(shape, Shape) else None


def packers_of(shape: Shape) -> dict[str, Packer]:
    """Return what makes the column of each property that is stored, by the query's parameter."""
    stored = {name: one for name, one in shape.properties.items() if name != _NOT_STORED}
    return {parameter_of(name): _packer(name, one) for name, one in stored.items()}


def _packer(name: str, one: Property) -> Packer:
    value = attrgetter(name)
    match one:
        case Primitives():
            return lambda elements: jsonb_array(list(map(value, elements)))
        case Choice():
            stored = {word: text(kept) for word, kept in one.stored.items()}
            return lambda elements: text_array(_stored(stored, map(value, elements)))
        case Text() | Name() | Timestamp():
            return lambda elements: text_array([text(string) for string in map(value, elements)])
    raise AssertionError(f"no column holds the property {name}")


def _stored(stored: Mapping[str, bytes], words: Iterable[str]) -> list[bytes]:
    try:
        return [stored[word.lower()] for word in words]
    except KeyError as error:
        raise UnreadableEntryError(f"{error} is not one of {', '.join(stored)}") from error


#: By kind, where its rows are appended, and the shape of one.
_APPENDED: Final = {name: found for name, kind in KINDS.items() if (found := _appended(kind))}
#: Made at once, so that no worker starts with a declaration that it can't store.
_PACKERS: Final = {shape: packers_of(shape) for shape in (ITEM, *(shape for _, shape in _APPENDED.values()))}
