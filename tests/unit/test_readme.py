"""The README's tables match the code."""

from __future__ import annotations

import re
from pathlib import Path

from ingest_api.errors import ErrorCode
from shared.process.settings import REGISTER

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    section = re.split(rf"^##+ {heading}$", README, flags=re.MULTILINE)[1]
    table = re.search(r"^\|.*?\n\n", section, re.DOTALL | re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:] if line]


def test_the_codes_are_those_of_the_register() -> None:
    expected = [
        [
            f"`{code.text}`",
            str(code.value.status),
            code.value.meaning,
            "yes" if code.value.retry else "no",
            code.value.advice,
        ]
        for code in ErrorCode
    ]

    assert rows("Codes") == expected


def test_the_settings_are_those_of_the_register() -> None:
    assert rows("Settings") == [
        [f"`{name}`", f"`{default}`" if default else "", doc] for name, default, doc in REGISTER
    ]
