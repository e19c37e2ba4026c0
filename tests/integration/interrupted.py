"""`ingestctl` that gets SIGINT at a stage: `interrupted.py STAGE WORD…`, a program of its own and of `preloaded.py`.

STAGE is `how:name`: when `name` is imported, called, or has run its destructor; `exiting:`, when Python ends; or
`running:`, never.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.abc
import signal
import sys
from collections.abc import Callable
from typing import Any

import operations.cli

if __name__ != "__main__":  # forked, so that each process has it already
    import operations.cli.app


class Importing(importlib.abc.MetaPathFinder):
    """Interrupt when a module is looked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, *_: Any) -> None:
        """Find nothing."""
        if fullname == self._name:
            signal.raise_signal(signal.SIGINT)


class Destroyed:
    """Interrupt in the destructor."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def interrupting(how: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, and interrupt it at a stage."""

    def call(*words: Any, **named: Any) -> Any:
        if how == "calling":
            signal.raise_signal(signal.SIGINT)
        if how == "destroying":
            Destroyed()
        result = function(*words, **named)
        if how == "called":
            signal.raise_signal(signal.SIGINT)
        if how == "swallowing":
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return result

    return call


def main() -> None:
    """Run the command."""
    how, name = sys.argv.pop(1).split(":")
    if how == "importing":
        sys.meta_path.insert(0, Importing(name))
    elif how == "exiting":
        atexit.register(signal.raise_signal, signal.SIGINT)
    elif how != "running":
        module, _, attribute = name.rpartition(".")
        owner = __import__(module, fromlist=["_"])
        setattr(owner, attribute, interrupting(how, getattr(owner, attribute)))
    operations.cli.main()


if __name__ == "__main__":
    main()
