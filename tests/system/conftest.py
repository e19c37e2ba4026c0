"""Installations that tests share. Each test makes its own connectors, so that no test sees another's items.

In each process they end before its next test outside of this folder: an idle one takes 4 % of a core.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.client import Connector
from tests.support.described import create
from tests.support.route_check import RouteCheck, route_check_on
from tests.support.stack import UNLIMITED, Api, Stack, running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A complete installation with two workers."""
    with running(tmp_path_factory.mktemp("stack"), WORKERS=2) as stack:
        yield stack


@pytest.fixture(scope="package")
def workerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation without workers: tests start their own, and kill them."""
    with running(tmp_path_factory.mktemp("workerless"), WORKERS=0) as stack:
        yield stack


@pytest.fixture(scope="package")
def neighbour(stack: Stack) -> Iterator[Api]:
    """A second API process on the engines of `stack`."""
    with stack.api() as api:
        yield api


@pytest.fixture(scope="package")
def check(stack: Stack) -> RouteCheck:
    """The check of the route table, on `stack`."""
    return route_check_on(stack)


#: One connector more than there are lanes, so that two share a lane.
_CROWD = 17


@pytest.fixture(scope="package")
def crowd(workerless: Stack) -> list[Connector]:
    """More connectors than lanes; the first ones share a lane."""
    names = (f"crowd {number}" for number in range(_CROWD))
    made = create(workerless.ingestctl, workerless.folder, names, workerless.url)
    lanes = {row["connector_id"]: row["lane"] for row in workerless.rows("SELECT connector_id, lane FROM connectors")}
    crowded = next(lane for lane in lanes.values() if sum(lanes[one.id] == lane for one in made) > 1)
    return sorted(made, key=lambda one: lanes[one.id] != crowded)


_numbers = itertools.count(1)


@pytest.fixture
def new_connector(request: pytest.FixtureRequest) -> Callable[..., Connector]:
    """Create connectors named after the test."""

    def make(stack: Stack, *, rate: float = UNLIMITED, burst: int = UNLIMITED) -> Connector:
        return stack.connector(f"{request.node.name[:60]} {next(_numbers)}", rate=rate, burst=burst)

    return make
