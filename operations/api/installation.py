"""Operations that read the state of the installation."""

from __future__ import annotations

from typing import Any, Final

from operations.api.answers import EngineState, TroubleDocument
from operations.api.operation import Call, Page, operation
from operations.roles import Role


@operation("GET", "/engines", Role.VIEWER, answer=EngineState)
def show_engines(call: Call) -> dict[str, Any]:
    """Show lanes, workers and engines; of an engine that is away, why."""
    return call.engines.state(with_connectors=False).document()


@operation("GET", "/troubles", Role.VIEWER, answer=Page[TroubleDocument])
def list_troubles(call: Call) -> Page[dict[str, Any]]:
    """List what is wrong, the urgent first: which connectors it concerns, and what to do."""
    engines = call.engines
    return Page(items=[trouble.document() for trouble in engines.troubles(engines.state())])


OPERATIONS: Final = (show_engines, list_troubles)
