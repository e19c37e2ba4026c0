"""Installations that tests share. Each test has connectors of its own, so that none sees another's items."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.register_assert_rewrite("tests.system.client", "tests.system.processes", "tests.system.stack")

from tests.system.client import Connector  # noqa: E402 - rewritten before it is imported
from tests.system.stack import UNLIMITED, Api, Stack, running  # noqa: E402 - likewise


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole installation, with two workers."""
    with running(tmp_path_factory.mktemp("stack"), WORKERS=2) as stack:
        yield stack


@pytest.fixture(scope="session")
def workerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation without workers: a test starts its own, and kills them."""
    with running(tmp_path_factory.mktemp("workerless"), WORKERS=0) as stack:
        yield stack


@pytest.fixture(scope="session")
def neighbour(stack: Stack) -> Iterator[Api]:
    """Another API process on the engines of `stack`."""
    with stack.api() as api:
        yield api


#: One more than there are lanes.
_CROWD = 17


@pytest.fixture(scope="session")
def crowd(workerless: Stack) -> list[Connector]:
    """So many connectors that two of them are on one lane: those come first."""
    with ThreadPoolExecutor(2) as hands:
        made = list(hands.map(workerless.connector, (f"one of a crowd {number}" for number in range(_CROWD))))
    lanes = {row["connector_id"]: row["lane"] for row in workerless.rows("SELECT connector_id, lane FROM connectors")}
    crowded = next(lane for lane in lanes.values() if sum(lanes[one.id] == lane for one in made) > 1)
    return sorted(made, key=lambda one: lanes[one.id] != crowded)


_numbers = itertools.count(1)


@pytest.fixture
def new_connector(request: pytest.FixtureRequest) -> Callable[..., Connector]:
    """Makes a connector that is named after the test."""

    def make(stack: Stack, *, rate: float = UNLIMITED, burst: int = UNLIMITED) -> Connector:
        return stack.connector(f"{request.node.name[:60]} {next(_numbers)}", rate=rate, burst=burst)

    return make
