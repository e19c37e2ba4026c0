"""Which items of a stream there still are: `POST /api/ingest/retain`."""

from __future__ import annotations

from typing import Final

from shared.error_codes import ErrorCode
from shared.kinds.items import ID, STREAM
from shared.kinds.shapes import Elements, Kind, NonEmpty, Shape, WholeNumber
from shared.limits import MAX_AT_MOST

BATCH: Final = Shape(
    component="Retained",
    called="a retain",
    doc="Says which items of a stream there are. All others that were accepted before are removed.",
    properties={
        "stream": STREAM,
        "ids": Elements(
            required=True,
            shape=ID,
            doc="Ids of all items that there are, in any order. May be empty only if `atMost` is given.",
            rule=NonEmpty(
                unless="atMost",
                code=ErrorCode.AT_MOST_REQUIRED,
                message="`ids` is empty, which removes all items of the stream; say with `atMost` how many may go.",
            ),
        ),
        "atMost": WholeNumber(
            max=MAX_AT_MOST,
            code=ErrorCode.INVALID_AT_MOST,
            message="`atMost` must be a whole number from 0 to {max:,}.",
            doc="If more items would be removed, none is, and the submission becomes a dead letter.",
        ),
    },
)
RETAIN: Final = Kind(name="retain", path="/api/ingest/retain", counted="idsReceived", body=BATCH, retains=True)
