"""Batches of items: `POST /api/ingest`."""

from __future__ import annotations

from typing import Final

from shared.error_codes import ErrorCode
from shared.kinds.shapes import Elements, Flag, Kind, Name, Primitives, Shape, Text
from shared.limits import (
    MAX_FIELDS,
    MAX_ID_BYTES,
    MAX_ITEM_BYTES,
    MAX_NAME_BYTES,
    MAX_STREAM_CHARACTERS,
    MAX_TAGS,
)

STREAM: Final = Name(
    required=True,
    characters="[A-Za-z0-9._:-]",
    max_characters=MAX_STREAM_CHARACTERS,
    code=ErrorCode.INVALID_STREAM,
    message="`stream` must be 1 to {max} characters of `A-Z a-z 0-9 . _ : -`; rename it.",
    doc="What the items are of. With the connector and the item's id, it names an item.",
)
ID: Final = Text(
    required=True,
    min_bytes=1,
    max_bytes=MAX_ID_BYTES,
    code=ErrorCode.INVALID_ID,
    message="An item's id must be {min} to {max} bytes; this one has {size:,}.",
    doc="Stable name of the item within its stream.",
)
NAME: Final = Text(
    null=True,
    max_bytes=MAX_NAME_BYTES,
    code=ErrorCode.INVALID_NAME,
    message="An item's `name` may have {max:,} bytes; this one has {size:,}: shorten it.",
    doc="Label for people.",
)
FIELDS: Final = Primitives(
    max_members=MAX_FIELDS,
    too_many=ErrorCode.TOO_MANY_FIELDS,
    too_many_message="An item may have {max} fields, repeated names included; this one has more: split or trim it.",
    max_bytes=MAX_ITEM_BYTES,
    doc=f"The item's state. All values together: up to {MAX_ITEM_BYTES:,} bytes, names not counted.",
)
ITEM: Final = Shape(
    component="Item",
    called="an item",
    doc="The new state of an item: it replaces the whole former one. Or that it is gone.",
    properties={
        "id": ID,
        "name": NAME,
        "fields": FIELDS,
        "tags": Primitives(
            max_members=MAX_TAGS,
            too_many=ErrorCode.TOO_MANY_TAGS,
            too_many_message="An item may have {max} tags, repeated names included; this one has more: remove some.",
            doc="What is for display, not state.",
        ),
        "deleted": Flag(
            beside=("id",),
            code=ErrorCode.UNEXPECTED_PROPERTY,
            message="An item that is `deleted` has its `id` beside it and nothing else; remove this property.",
            doc="True: the item is gone. Then it has only its `id` beside this.",
        ),
    },
)
BATCH: Final = Shape(
    component="ItemBatch",
    called="a batch",
    doc="A batch of items. It is taken whole or not at all.",
    properties={
        "stream": STREAM,
        "items": Elements(
            required=True, shape=ITEM, doc="May be empty. Of an id that comes twice, the last item counts."
        ),
    },
)
ITEMS: Final = Kind(name="items", path="/api/ingest", counted="itemsReceived", body=BATCH)
