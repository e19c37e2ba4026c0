"""Rows as JSON text, exactly or not at all."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Callable, Union
from uuid import UUID

from .errors import InvalidRow

Primitive = Union[str, int, float, bool, None]
Convert = Callable[[Any], Primitive]
Values = Mapping[str, Any]


def exact_text(value: Any) -> Primitive:
    """Return the exact text of a value that JSON has no type for; raise TypeError if it has no obvious one."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        seconds = Decimal(value // timedelta(microseconds=1)).scaleb(-6)
        return f"PT{seconds.normalize():f}S"
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if hasattr(value, "__index__"):  # integers of numpy and pandas
        return int(value)
    message = f"{_described(value)} has no JSON form: convert it to a string or number, or pass convert=…"
    raise TypeError(message)


def any_text(value: Any) -> Primitive:
    """Return what `exact_text` does; beyond that "NaN" and "Infinity" as text, and bytes as base64."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return exact_text(value)


def _described(value: Any) -> str:
    return repr(value) if isinstance(value, float) else f"A value of type {type(value).__name__}"


class Encoder:
    """Writes rows as JSON. `convert` decides about values that JSON can't hold, also about NaN and infinities."""

    def __init__(self, convert: Convert) -> None:
        self._convert = convert
        self._encode = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=convert
        ).encode

    def item(self, item_id: Any, name: str | None, fields: Values | None, tags: Values | None) -> bytes:
        """Return an item, whose id may be a number."""
        row: dict[str, Any] = {"id": item_id if type(item_id) is str else self._id(item_id)}
        if name is not None:
            row["name"] = name
        if fields is not None:
            row["fields"] = fields
        if tags is not None:
            row["tags"] = tags
        return self._row(row)

    def deletion(self, item_id: Any) -> bytes:
        """Return the statement that an item is gone."""
        return self._row({"id": self._id(item_id), "deleted": True})

    def item_id(self, item_id: Any) -> bytes:
        """Return an id alone."""
        return self.json(self._id(item_id), "$.id")

    def entry(self, level: str, message: str, timestamp: str, context: Values) -> bytes:
        """Return a log entry. What has no text is written as Python prints it: a log must not fail."""
        known = {_clean(name): value if _is_plain(value) else _clean(value) for name, value in context.items()}
        return self._encode(
            {"level": level, "message": _clean(message), "timestamp": timestamp, "context": known}
        ).encode()

    def json(self, value: Any, path: str) -> bytes:
        """Return any value; raise InvalidRow if JSON can't hold it."""
        try:
            return self._encode(value).encode()
        except UnicodeEncodeError:
            message = f"{path} is not valid Unicode (half of a surrogate pair): repair the text."
        except (TypeError, ValueError, RecursionError) as error:
            message = f"{path}: {error}"
        raise InvalidRow(message, path)

    def _row(self, row: dict[str, Any]) -> bytes:
        try:
            return self._encode(row).encode()
        except (TypeError, ValueError, RecursionError):
            return self._row_value_by_value(row)

    def _row_value_by_value(self, row: dict[str, Any]) -> bytes:
        """Encode a row that holds something special, so that NaN is converted and an error names its place."""
        special = {part: dict(self._values(part, row[part])) for part in ("fields", "tags") if part in row}
        for part in ("id", "name"):
            self.json(row.get(part), f"$.{part}")
        return self.json({**row, **special}, "$")

    def _values(self, part: str, values: Values) -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            path = f"$.{part}.{name}"
            converted = value
            if isinstance(value, float) and not math.isfinite(value):
                try:
                    converted = self._convert(value)
                except TypeError as error:
                    raise InvalidRow(f"{path}: {error}", path) from None
            self.json(converted, path)
            yield name, converted

    def _id(self, item_id: Any) -> str:
        if isinstance(item_id, str):
            return item_id
        if item_id is None or isinstance(item_id, (bool, float)):
            message = f"The id {item_id!r} is not a string or whole number: choose a stable key of the source."
            raise InvalidRow(message, "$.id")
        try:
            return str(item_id if isinstance(item_id, int) else self._convert(item_id))
        except TypeError as error:
            raise InvalidRow(f"$.id: {error}", "$.id") from None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _clean(value: Any) -> str:
    """Return text without what the service refuses: U+0000 and halves of surrogate pairs are spelled out."""
    return str(value).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
