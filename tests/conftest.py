"""Settings of all layers: Hypothesis on a busy machine, an order in which two cores end together, interrupts."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support")  # before a layer imports it

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

# A script starts its background jobs with SIGINT ignored. Processes that tests start would inherit that, and a test
# that interrupts one would see it continue. Python's own handler becomes the default action in a new process.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files: the longest first, the short ones of the unit layer last."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    name, layer = item.path.name, item.path.parent.name
    return (
        _LONGEST.index(name) if name in _LONGEST else len(_LONGEST),
        _LAYERS.index(layer) if layer in _LAYERS else len(_LAYERS),
    )
