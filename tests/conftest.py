"""Settings of all layers: Hypothesis on a busy machine, and an order in which two cores end together."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("suite")

#: The files that take longest. A file runs on one core, so that a long one must not be the last.
_LONGEST = (
    "test_make_run.py",
    "test_nothing_accepted_is_lost.py",
    "test_openapi_conformance.py",
    "test_local_run.py",
    "test_local_engines.py",
    "test_killed_processes_lose_nothing.py",
    "test_memory_is_bounded.py",
)
_LAYERS = ("system", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files: the longest first, the short ones of the unit layer last."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    name, layer = item.path.name, item.path.parent.name
    return (
        _LONGEST.index(name) if name in _LONGEST else len(_LONGEST),
        _LAYERS.index(layer) if layer in _LAYERS else len(_LAYERS),
    )
