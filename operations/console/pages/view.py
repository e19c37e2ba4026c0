"""Render pages: templates that escape everything, filters, and the headers of each answer.

What connectors sent is hostile text. Every value that a template prints is escaped, and characters that could change
the direction of text, end a line or stay invisible are shown by their numbers (`finalize`), on every page alike.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

import jinja2
import orjson
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from operations.console.pages import charts
from operations.readable import counted, readable_bytes, readable_number, readable_seconds, visible
from operations.reasons import meaning_of
from operations.roles import Role
from shared.rfc3339 import rfc3339

#: Of each answer. No page needs an inline script, an inline style or another host.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


#: Seconds from which a time is told in minutes.
_MINUTES_FROM: Final = 120


class View:
    """The templates, and the files that they refer to."""

    def __init__(self) -> None:
        self._files = {file.name: file.read_bytes() for file in (resources.files(__package__) / "static").iterdir()}
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("operations.console.pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": ago,
            "bytes": readable_bytes,
            "compact": lambda value: value if isinstance(value, str) else orjson.dumps(value).decode(),
            "count": counted,
            "exact": escape,
            "multiline": multiline,
            "number": number,
            "percent": percent,
            "plain": lambda value: f"{value:.12g}",
            "prose": prose,
            "seconds": readable_seconds,
        }
        self._environment.globals |= {
            "Role": Role,
            "chart": charts.chart,
            "meaning_of": meaning_of,
            "figure": charts.figure,
            "rows_of": charts.rows_of,
            "sparkline": charts.sparkline,
            "static": self.address_of,
        }

    def page(self, template: str, values: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
        """Return a whole page."""
        text = self._environment.get_template(template).render(values, now=datetime.now(UTC))
        return HTMLResponse(text, status, headers=HEADERS)

    def live(self, template: str, values: Mapping[str, Any]) -> str:
        """Return the part of a page that changes while it is open."""
        found = self._environment.get_template(template)
        return "".join(found.blocks["live"](found.new_context({**values, "now": datetime.now(UTC)})))

    def address_of(self, name: str) -> str:
        """Return the address of a file, another one for each content, so that browsers may keep it."""
        return f"/static/{_digest(self._files[name])}/{name}"

    def file(self, digest: str, name: str) -> Response:
        """Return a file."""
        content = self._files.get(name)
        if content is None or _digest(content) != digest:
            return Response(status_code=404, headers=HEADERS)
        kept = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(content, headers=kept, media_type=_TYPES[name.rpartition(".")[2]])


def shown(value: Any) -> Any:
    """Return what a template prints of a value: text with its invisible characters made visible."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return "-"
    return _without_format_characters(visible(value)) if isinstance(value, str) else value


def multiline(value: str) -> Markup:
    """Return text of several lines, whole, whose other invisible characters are made visible."""
    lines = value.replace("\r\n", "\n").split("\n")
    return Markup("\n").join(escape("".join(map(_whole, _pieces(line)))) for line in lines)


def number(value: float | None) -> str:
    """Return a number with its thousands apart."""
    return "-" if value is None else readable_number(value)


def prose(text: str) -> Markup:
    """Return a sentence of ours whose words between backticks are code."""
    pieces = str(shown(text)).split("`")
    if len(pieces) % 2 == 0:
        return escape(shown(text))
    return Markup().join(
        Markup("<code>{}</code>").format(one) if place % 2 else one for place, one in enumerate(pieces)
    )


def ago(moment: datetime | None, now: datetime | None = None) -> Markup:
    """Return how long ago something was, with the exact time at hand."""
    if moment is None:
        return Markup("<span class=none>never</span>")
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    exact = rfc3339(moment)
    told = f"{abs(seconds):.0f} s" if abs(seconds) < _MINUTES_FROM else readable_seconds(abs(seconds))
    text = "just now" if -1 < seconds < 1 else f"{told} {'ago' if seconds > 0 else 'ahead'}"
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, text)


def percent(part: float, whole: float) -> str:
    """Return a share as people read it: what is there is never shown as nothing."""
    if not part or not whole:
        return "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"  # noqa: PLR2004 - one decimal is shown


def _without_format_characters(text: str) -> str:
    """Show characters without a width by their numbers, but for the joiners of scripts and emoji."""
    if text.isascii():
        return text
    return "".join(
        f"\\u{ord(one):04x}" if unicodedata.category(one) == "Cf" and one not in "\u200c\u200d" else one for one in text
    )


def _pieces(line: str) -> list[str]:
    """Cut a line into pieces that `visible` does not shorten."""
    return [line[start : start + 400] for start in range(0, len(line), 400)]


def _whole(piece: str) -> str:
    return _without_format_characters(visible(piece.replace("\t", "    ")))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
