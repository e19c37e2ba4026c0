"""Bar charts as SVG, with whiskers from the lowest to the highest round.

They need no plotting library, which would be a dozen packages to keep pinned.
"""

from __future__ import annotations

from html import escape
from typing import Final

import msgspec

from benchmarks.measure import Figure

_WIDTH: Final = 820
_LEFT: Final = 330
_RIGHT: Final = 110
_TOP: Final = 44
_BAR: Final = 18
_GAP: Final = 6
_GROUP: Final = 14
_COLOURS: Final = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e", "#97bbf5")


class Bar(msgspec.Struct):
    """A bar of a group."""

    label: str
    figure: Figure


class Chart(msgspec.Struct):
    """Groups of bars on one scale; the n-th bar of each group has the n-th colour."""

    title: str
    unit: str
    groups: list[list[Bar]]
    #: Format of the numbers.
    spell: str = ",.0f"


def draw(chart: Chart) -> str:
    """Return the chart as an SVG document."""
    highest = max((bar.figure.high for group in chart.groups for bar in group), default=0.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / highest
    y, parts = _TOP, []
    for group in chart.groups:
        for number, bar in enumerate(group):
            parts += _bar(bar, y, scale, _COLOURS[number % len(_COLOURS)], chart.spell)
            y += _BAR + _GAP
        y += _GROUP
    return "\n".join([*_head(chart, y), *parts, "</svg>", ""])


def _head(chart: Chart, height: int) -> list[str]:
    title = escape(f"{chart.title}, {chart.unit}")
    box = f'width="{_WIDTH}" height="{height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="13" role="img">',
        f"<title>{title}</title>",
        f'<rect {box} fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold" fill="#222222">{title}</text>',
    ]


def _bar(bar: Bar, y: int, scale: float, colour: str, spell: str) -> list[str]:
    low, middle, high = (_LEFT + value * scale for value in (bar.figure.low, bar.figure.median, bar.figure.high))
    centre, base = y + _BAR / 2, y + _BAR - 4
    return [
        f'<text x="{_LEFT - 8}" y="{base}" text-anchor="end" fill="#222222">{escape(bar.label)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{middle - _LEFT:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {centre}H{high:.1f}M{low:.1f} {y + 5}v8M{high:.1f} {y + 5}v8" stroke="#222222"/>',
        f'<text x="{high + 8:.1f}" y="{base}" fill="#222222">{bar.figure.median:{spell}}</text>',
    ]
