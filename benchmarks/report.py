"""The report: `results.json` holds the newest section of each subject, `results.md` and `charts/` show them.

The page is always written from the whole file, so that `make bench ONLY=accept` replaces one section and keeps the
others. `notes.md`, in which people explain missed targets, is appended to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.charts import Chart, draw
from benchmarks.machine import Run
from benchmarks.measure import Figure
from benchmarks.targets import target_table

FOLDER: Final = Path(__file__).resolve().parent
_HEAD: Final = """# Results

Written by `make bench`; the figures are medians, with the lowest and the highest of the rounds. Durability
(`appendfsync always`, `synchronous_commit on`, `fsync on`), validation, rate limiting and receipts are on in every run.
"""


class Table(msgspec.Struct):
    """A table of a section."""

    head: list[str]
    rows: list[list[str]] = []

    def markdown(self) -> str:
        """Return the table as Markdown, with numbers aligned to the right."""
        rule = ["---:" if self._is_numbers(column) else "---" for column in range(len(self.head))]
        lines = [self.head, rule, *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def _is_numbers(self, column: int) -> bool:
        return column > 0 and all(not row[column] or row[column][0].isdigit() for row in self.rows)


class Section(msgspec.Struct):
    """The result of a subject."""

    title: str
    #: What was measured, how, and what was scaled down.
    story: str
    tables: list[Table] = []
    charts: list[Chart] = []
    #: Figures by name, for the targets.
    figures: dict[str, Figure] = {}
    #: Date and machine, set by `__main__`.
    run: Run | None = None


def read_sections(path: Path) -> dict[str, Section]:
    """Return the sections of former runs."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Section]) if path.exists() else {}


def replace_sections(
    former: Mapping[str, Section], new: Mapping[str, Section], order: Sequence[str]
) -> dict[str, Section]:
    """Return the newest section of each subject, in their order; sections of removed subjects are dropped."""
    known = {**former, **new}
    return {name: known[name] for name in order if name in known}


def write_report(new: Mapping[str, Section], order: Sequence[str], folder: Path = FOLDER) -> None:
    """Add sections to the results, and write the page and the charts."""
    sections = replace_sections(read_sections(folder / "results.json"), new, order)
    (folder / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(sections), indent=1) + b"\n")
    charts = folder / "charts"
    shutil.rmtree(charts, ignore_errors=True)
    charts.mkdir()
    for name, section in sections.items():
        for number, chart in enumerate(section.charts):
            (charts / chart_name(name, number)).write_text(draw(chart))
    notes = folder / "notes.md"
    (folder / "results.md").write_text(page(sections, notes.read_text() if notes.exists() else ""))


def page(sections: Mapping[str, Section], notes: str) -> str:
    """Return the text of results.md."""
    whole = [section for section in sections.values() if not (section.run and section.run.quick)]
    figures = {name: figure for section in whole for name, figure in section.figures.items()}
    parts = [_HEAD, *(_section_text(name, section) for name, section in sections.items())]
    return "\n".join([*parts, "## Targets\n", target_table(figures), "", notes.strip()]).rstrip() + "\n"


def chart_name(subject: str, number: int) -> str:
    """Return the file name of a chart."""
    return f"{subject}-{number + 1}.svg" if number else f"{subject}.svg"


def _section_text(name: str, section: Section) -> str:
    parts: list[Any] = [f"## {section.title}\n"]
    parts += [f"{section.run.text()}\n"] if section.run else []
    parts += [f"{section.story}\n"]
    parts += [f"{table.markdown()}\n" for table in section.tables]
    parts += [f"![{chart.title}](charts/{chart_name(name, number)})\n" for number, chart in enumerate(section.charts)]
    return "\n".join(parts)
