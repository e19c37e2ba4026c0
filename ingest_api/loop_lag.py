"""Measures how late the event loop calls what is due: every request is late by as much."""

from __future__ import annotations

import asyncio
from typing import Final

from ingest_api.metrics import LOOP_LAG

_PERIOD_SECONDS: Final = 0.5


async def watch_loop() -> None:
    """Measure until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _PERIOD_SECONDS
        await asyncio.sleep(_PERIOD_SECONDS)
        LOOP_LAG.observe(loop.time() - due)
