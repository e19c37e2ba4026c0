"""What connectors log: `POST /api/ingest/log`."""

from __future__ import annotations

from typing import Final

from shared.error_codes import ErrorCode
from shared.kinds.shapes import Choice, Elements, Kind, Primitives, Shape, Table, Text, Timestamp
from shared.limits import MAX_CONTEXT_MEMBERS
from shared.log_levels import STORED_LEVELS

ENTRY: Final = Shape(
    component="Entry",
    called="a log entry",
    doc="One line of the connector's log.",
    properties={
        "level": Choice(
            required=True,
            stored=STORED_LEVELS,
            code=ErrorCode.INVALID_LEVEL,
            doc="In any case. `warning` is kept as `warn`, `critical` as `fatal`.",
        ),
        "message": Text(required=True, doc="What happened."),
        "timestamp": Timestamp(
            doc="RFC 3339 with an offset; missing: the time of receipt. The instant is of the years 1 to 9999."
        ),
        "context": Primitives(
            max_members=MAX_CONTEXT_MEMBERS,
            too_many=ErrorCode.TOO_MANY_FIELDS,
            too_many_message="A `context` may have {max} members, repeated names included; this one has more: trim it.",
            doc="What belongs to the message.",
        ),
    },
)
BATCH: Final = Shape(
    component="EntryBatch",
    called="a log submission",
    doc="A batch of log entries. It is taken whole or not at all.",
    properties={"entries": Elements(required=True, shape=ENTRY, doc="May be empty.")},
)
LOG: Final = Kind(
    name="log",
    path="/api/ingest/log",
    counted="entriesReceived",
    body=BATCH,
    table=Table(name="connector_logs", insert="insert_logs", keep="keep_logs_days"),
)
