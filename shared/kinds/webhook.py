"""Any JSON object as one item: `POST /api/webhook/{stream}`, whose query may name an `idField`."""

from __future__ import annotations

from typing import Final

from shared.kinds.items import FIELDS
from shared.kinds.shapes import Kind, OneItem

WEBHOOK: Final = Kind(
    name="webhook",
    path="/api/webhook/{stream:path}",
    counted="itemsReceived",
    body=OneItem(fields=FIELDS),
    takes_suffix=True,
)
