"""Operations that read the state of the installation."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

from operations.api.answers import EngineState, TroubleDocument
from operations.api.operation import Call, Page, operation
from operations.roles import Role
from operations.state import State, look
from operations.troubles import Bounds, troubles


@operation("GET", "/engines", Role.VIEWER, answer=EngineState)
def show_engines(call: Call) -> dict[str, Any]:
    """Show lanes, workers and engines; of an engine that is away, why."""
    return _state(call).document()


@operation("GET", "/troubles", Role.VIEWER, answer=Page[TroubleDocument])
def list_troubles(call: Call) -> Page[dict[str, Any]]:
    """List what is wrong, the urgent first: which connectors it concerns, and what to do."""
    bounds = Bounds(call.engines.settings.max_backlog_bytes)
    return Page(items=[trouble.document() for trouble in troubles(_state(call), bounds)])


def _state(call: Call) -> State:
    engines = call.engines
    return look(
        engines.database,
        lambda: nullcontext(engines.redis),
        lambda _: engines.queue,
        quiet_after_seconds=engines.settings.quiet_after_seconds,
    )


OPERATIONS: Final = (show_engines, list_troubles)
