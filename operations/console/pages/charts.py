"""Charts, drawn by the server as SVG: they need no script, and are read in the dark, in print and without colour.

A chart has a title that says its figures in words, and a table of them beside it. Series differ by shape, too: what
was refused is drawn as hatched bars, not only in another colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup

_WIDTH, _HEIGHT = 600, 100
_TOP: Final = 14


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time, by the name that a reader sees; `style` is the class of its shape."""

    name: str
    style: str
    values: Sequence[float]


def chart(title: str, times: Sequence[datetime], series: Sequence[Series], unit: str = "") -> Markup:
    """Return bars over time, stacked in the order of the series."""
    highest = max((sum(column) for column in zip(*(one.values for one in series), strict=True)), default=0)
    if not highest:
        return Markup("<p class=empty>{}: nothing in this time.</p>").format(title)
    step = _WIDTH / len(times)
    floor = [0.0] * len(times)
    drawn = []
    for one in series:
        drawn.append(_bars(one, floor, step, highest))
        floor = [below + value for below, value in zip(floor, one.values, strict=True)]
    words = ", ".join(f"{one.name} {figure(sum(one.values))}" for one in series)
    return Markup(
        '<svg class=chart viewBox="0 0 {w} {h}" role=img aria-label="{title}: {words}; at most {top}{unit} at once.">'
        "<text x=0 y=10>{top}{unit}</text>{bars}"
        '<path class=axis d="M0 {base}H{w}"/>'
        "<text x=0 y={label}>{first}</text><text x={w} y={label} text-anchor=end>{last}</text></svg>"
    ).format(
        w=_WIDTH,
        h=_HEIGHT + 14,
        title=title,
        words=words,
        top=figure(highest),
        unit=unit and f" {unit}",
        bars=Markup().join(drawn),
        base=_HEIGHT,
        label=_HEIGHT + 12,
        first=_clock(times[0], times),
        last=_clock(times[-1], times),
    )


def figure(value: float) -> str:
    """Return a number as people read it: small ones with a decimal."""
    return f"{value:,.0f}" if value == int(value) or value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - one digit


def rows_of(times: Sequence[datetime], series: Sequence[Series]) -> list[tuple[Any, ...]]:
    """Return the figures of a chart by time, the newest first, without the times of which there are none."""
    rows = zip(times, *(one.values for one in series), strict=True)
    return [row for row in rows if any(row[1:])][::-1]


def sparkline(values: Sequence[float], words: str) -> Markup:
    """Return a small area for a list, in few bytes: a page has fifty. `words` say the same."""
    highest = max(values, default=0)
    if not highest:
        return Markup("")
    path = "".join(f"V{16 - max(1, round(15 * value / highest)) if value else 16}h2" for value in values)
    return Markup('<svg class=spark viewBox="0 0 {} 16" role=img aria-label="{}"><path d="M0 16{}V16z"/></svg>').format(
        2 * len(values), words, path
    )


def _bars(series: Series, floor: Sequence[float], step: float, highest: float) -> Markup:
    scale = (_HEIGHT - _TOP) / highest
    wide = f"{step * 0.8:.1f}"
    path = "".join(
        f"M{step * place:.1f} {_HEIGHT - below * scale:.1f}h{wide}v-{max(1.0, value * scale):.1f}h-{wide}z"
        for place, (below, value) in enumerate(zip(floor, series.values, strict=True))
        if value
    )
    return Markup('<path class="{}" d="{}"/>').format(series.style, path)


def _clock(moment: datetime, times: Sequence[datetime]) -> str:
    same_day = times[0].date() == times[-1].date()
    return moment.strftime("%H:%M" if same_day else "%d %b %H:%M") + " UTC"
