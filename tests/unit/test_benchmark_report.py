"""The benchmark's pure parts: figures, tables, charts, and what of a page a subset replaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import bodies
from benchmarks.__main__ import SUBJECTS
from benchmarks.charts import Bar, Chart, draw
from benchmarks.driver import Course
from benchmarks.load import Outcome
from benchmarks.machine import Run
from benchmarks.measure import Effort, Figure, in_turn, percentile, slope
from benchmarks.report import Section, Table, read_sections, write_report
from benchmarks.targets import TARGETS, Target

RUN = Run("2026-01-02 03:04 UTC", "abc", "a machine", "Python 3", quick=False, seconds=12)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1), (0.0, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_a_figure_shows_its_spread_only_where_there_is_one() -> None:
    assert Figure.of([3, 1, 2000]) == Figure(3, 1, 2000)
    assert Figure.of([3, 1, 2000]).text() == "3 (1 to 2,000)"
    assert Figure.of([7.25]).text(".1f") == "7.2"
    assert Figure(6, 3, 9).ratio(Figure(3, 1, 5)) == Figure(2, 1, 3)


def test_rounds_are_taken_in_turn() -> None:
    taken: list[str] = []

    def run(name: str) -> Callable[[], float]:
        def take() -> float:
            taken.append(name)
            return len(taken)

        return take

    found = in_turn({name: run(name) for name in "ab"}, 2, lambda _line: None, "")

    assert found == {"a": Figure(2, 1, 3), "b": Figure(3, 2, 4)}
    assert taken == ["a", "b", "a", "b"]


def test_the_slope_of_a_backlog_is_its_growth() -> None:
    assert slope([(0, 5), (1, 8), (2, 11)]) == pytest.approx(3)
    assert slope([(1, 5)]) == 0
    course = Course([(0, 0, 0), (1, 100, 50), (2, 200, 100)], outcome=Outcome({202: 2, 503: 3}))
    assert course.backlog_growth() == pytest.approx(50)
    assert course.applied_rate(0, 2) == pytest.approx(50)
    assert course.accepted_rate() == pytest.approx(100)
    assert course.refused() == 3


def test_a_template_puts_the_number_into_every_item_and_keeps_the_length() -> None:
    [template] = bodies.templates(ids=3, size=3, count=5)
    first, second = bodies.fill(template, 1_000_000), bodies.fill(template, 9_999_999)

    assert first.count(b'"talkSeconds":1000000') == 3
    assert len(first) == len(second)
    assert str(bodies.PLACE).encode() not in first


def test_the_same_requests_come_in_every_run() -> None:
    assert bodies.sequence(5, 3, shuffled=False) == [0, 1, 2, 0, 1]
    assert bodies.sequence(50, 9, shuffled=True) == bodies.sequence(50, 9, shuffled=True)
    assert bodies.templates(10_000, 10, 20) == bodies.templates(10_000, 10, 20)


def test_a_chart_is_well_formed_and_its_longest_bar_stays_inside() -> None:
    bars = [Bar("<floor> & more", Figure(1, 1, 1)), Bar("ours", Figure(50, 20, 80))]
    root = ET.fromstring(draw(Chart("a < b", "items/s", [bars, bars[:1]])))  # noqa: S314 - our own

    namespace = "{http://www.w3.org/2000/svg}"
    ends = [float(found.get("x", 0)) + float(found.get("width", 0)) for found in root.iter(f"{namespace}rect")]
    assert max(ends) <= float(root.get("width", 0))
    assert len(list(root.iter(f"{namespace}path"))) == 3
    assert "<floor> & more" in [found.text for found in root.iter(f"{namespace}text")]


def test_a_chart_of_nothing_is_a_chart() -> None:
    ET.fromstring(draw(Chart("empty", "", [[Bar("none", Figure(0, 0, 0))]])))  # noqa: S314 - our own


def test_numbers_stand_to_the_right_in_a_table() -> None:
    assert Table(["a", "b", "c"], [["x", "1", "y"]]).markdown().splitlines() == [
        "| a | b | c |",
        "| --- | ---: | --- |",
        "| x | 1 | y |",
    ]


def section(title: str, **figures: float) -> Section:
    chart = Chart(title, "ms", [[Bar(title, Figure(1, 1, 1))]])
    found = {name: Figure(value, value, value) for name, value in figures.items()}
    return Section(title, "How.", [Table(["what", "n"], [[title, "1"]])], [chart, chart], found, RUN)


def test_a_subset_replaces_its_own_sections_and_keeps_the_others(tmp_path: Path) -> None:
    order = ["accept", "drain"]
    (tmp_path / "notes.md").write_text("Why it was missed.\n")
    write_report({"drain": section("first drain", drain_ratio=0.5)}, order, tmp_path)
    write_report({"accept": section("first accept", accept_1_ratio=0.9)}, order, tmp_path)
    write_report({"drain": section("second drain", drain_ratio=0.95)}, order, tmp_path)

    page = (tmp_path / "results.md").read_text()
    titles = [line for line in page.splitlines() if line.startswith("#")]
    assert titles == ["# Results", "## first accept", "## second drain", "## Targets"]
    assert "first drain" not in page
    assert page.endswith("Why it was missed.\n")
    assert {path.name for path in (tmp_path / "charts").iterdir()} == {
        "accept.svg",
        "accept-2.svg",
        "drain.svg",
        "drain-2.svg",
    }
    assert read_sections(tmp_path / "results.json")["drain"].run == RUN


def test_a_shortened_run_says_nothing_about_targets(tmp_path: Path) -> None:
    shortened = section("drain", drain_ratio=0.95)
    write_report({"drain": shortened}, ["drain"], tmp_path)
    assert "| reached |" in (tmp_path / "results.md").read_text()

    shortened.run = Run("", "", "", "", quick=True)
    write_report({"drain": shortened}, ["drain"], tmp_path)
    assert "| reached |" not in (tmp_path / "results.md").read_text()


def test_a_subject_that_is_gone_takes_its_section_with_it(tmp_path: Path) -> None:
    write_report({"old": section("old")}, ["old"], tmp_path)
    write_report({"new": section("new")}, ["new"], tmp_path)

    assert "## old" not in (tmp_path / "results.md").read_text()
    assert not (tmp_path / "charts" / "old.svg").exists()


@pytest.mark.parametrize(
    ("at_least", "value", "verdict"),
    [(True, 0.75, "reached"), (True, 0.7, "**missed**"), (False, 0.75, "reached"), (False, 0.8, "**missed**")],
)
def test_a_target_is_reached_or_missed(value: float, verdict: str, *, at_least: bool) -> None:
    target = Target("speed", "speed_ratio", 0.75, at_least=at_least)

    assert target.row({"speed_ratio": Figure(value, 0, 9)})[-1] == verdict
    assert target.row({})[2:] == ["not measured", ""]


def test_the_figures_that_targets_want_are_named_by_a_subject() -> None:
    sources = "".join(
        path.read_text() for path in (Path(bodies.__file__).parent).glob("*.py") if path.stem != "targets"
    )
    prefixes = {target.figure for target in TARGETS if target.figure not in sources}

    # These are put together from a size, a peer's name or a percentile.
    assert {name.split("_")[0] for name in prefixes} <= {"accept", "peers", "latency"}


def test_a_short_run_is_marked_and_takes_less() -> None:
    quick = Effort(quick=True)

    assert (quick.rounds, quick.seconds(60), quick.seconds(6), quick.count(1000)) == (1, 10, 3, 100)
    assert "not to be quoted" in Run("", "", "", "", quick=True).text()
    assert "not to be quoted" not in RUN.text()


def test_every_subject_can_say_what_it_needs() -> None:
    assert all(isinstance(subject.missing(), list) for subject in SUBJECTS.values())
