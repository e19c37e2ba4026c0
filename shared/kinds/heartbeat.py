"""Signs of life: `POST /api/ingest/heartbeat`."""

from __future__ import annotations

from typing import Final

from shared.kinds.shapes import AnyObject, Kind

HEARTBEAT: Final = Kind(name="heartbeat", path="/api/ingest/heartbeat", body=AnyObject())
