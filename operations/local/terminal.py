"""What `make run` prints: steps with their time, the components' output with their names, lines to paste."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Final, TextIO

_NAME_WIDTH: Final = 9
_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Terminal:
    """Stdout. A reader that has closed it, such as a pager, does not stop the run."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self.is_terminal: Final = stream.isatty()
        self._colour = self.is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._began = time.monotonic()
        self._names: dict[str, int] = {}

    def step(self, text: str) -> None:
        """Print a step with the seconds since the start."""
        self.line(f"[{time.monotonic() - self._began:5.1f} s] {text}")

    def output(self, name: str, text: str) -> None:
        """Print one line of a component's output."""
        number = self._names.setdefault(name, len(self._names))
        label = f"{name:<{_NAME_WIDTH}} |"
        if self._colour:
            label = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{label}\x1b[0m"
        self.line(f"{label} {text}")

    def line(self, text: str = "") -> None:
        """Print a line unwrapped, so that it can be pasted."""
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)
