"""docs/scaling.md is what the program computes from the newest results."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.report import FOLDER, read_sections
from benchmarks.scaling import PAGE, Costs, costs, lanes, page, planned, walls

COSTS = Costs(
    api=100_000,
    worker=50_000,
    api_single=4_000,
    redis=4e-6,
    row=2e-5,
    folded=5e-6,
    body=200,
    aof=200,
    wal=400,
    large=0.8,
)


def test_the_page_is_computed_from_the_results() -> None:
    assert PAGE.read_text() == page(costs(read_sections(FOLDER / "results.json"))), "run `python -m benchmarks.scaling`"


def test_a_need_is_covered_with_headroom() -> None:
    assert [planned(need) for need in (0.01, 0.59, 0.61, 6)] == [1, 1, 2, 10]
    assert [lanes(workers) for workers in (1, 8, 9, 37, 1000)] == [16, 16, 32, 128, 1023]


def test_the_nearest_wall_comes_first() -> None:
    assert [what.split()[-2:] for _, what, _ in walls(COSTS)][:2] == [["Redis", "server"], ["Postgres", "primary"]]
    cheaper = dataclasses.replace(COSTS, redis=1e-9)
    assert walls(cheaper)[0][0] == pytest.approx(0.6 * 32 / 2e-5)
