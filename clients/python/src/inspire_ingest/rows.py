"""The rows of a stream as their author gives them, for both shells."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from .core import Core
from .encoding import Values
from .errors import InvalidRow
from .lanes import Lane
from .results import Result


class Rows:
    """Encodes the rows of a stream, and tells what became of them."""

    def __init__(self, core: Core, lane: Lane, lock: AbstractContextManager[Any]) -> None:
        self._core = core
        self._lane = lane
        self._lock = lock

    @property
    def result(self) -> Result:
        """Return what became of the rows so far."""
        return self._lane.result

    def _item(self, item_id: Any, name: str | None, fields: Values | None, tags: Values | None) -> bytes | None:
        """Return an item; None if it can't be sent and such rows do not raise."""
        try:
            return self._core.encoder.item(item_id, name, fields, tags)
        except InvalidRow as error:
            self._rejected({"id": item_id, "name": name, "fields": fields, "tags": tags}, error)
            return None

    def _deletion(self, item_id: Any) -> bytes | None:
        try:
            return self._core.encoder.deletion(item_id)
        except InvalidRow as error:
            self._rejected({"id": item_id, "deleted": True}, error)
            return None

    def _rejected(self, row: Any, error: InvalidRow) -> None:
        if self._core.options.on_rejected == "raise":
            raise error
        with self._lock:
            self._lane.reject(row, {"code": "not_encodable", "message": str(error), "path": error.path})
