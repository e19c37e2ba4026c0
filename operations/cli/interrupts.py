"""Ctrl-C ends a command with exit code 130 and without a message, whenever it comes.

Python raises KeyboardInterrupt at whatever runs when the signal arrives. Inside a destructor or a callback of C code
it can't be passed on: Python prints it and the command continues, to end with exit code 0. While modules are
imported and arguments are parsed it would end in a traceback. So SIGINT has two phases: a command that may have a
connection open is interrupted by the exception, and ended if that is lost; before and after it, the process ends.

A process that was started with SIGINT ignored, as shells do with background jobs of a script, continues to ignore it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

EXIT_CODE: Final = 128 + signal.SIGINT

Returned = TypeVar("Returned")


def exit_on_interrupt() -> None:
    """Let SIGINT end this process from now on."""
    _handle(_exit)


def interruptible(command: Callable[[], Returned]) -> Returned:
    """Run a command that has connections to close. Raises KeyboardInterrupt after a SIGINT; a second one ends it."""
    interrupted = False

    def interrupt(*_: Any) -> None:
        nonlocal interrupted
        interrupted = True
        # The exception cancels a query and closes connections, which may take seconds: a second Ctrl-C doesn't wait.
        _handle(_exit)
        raise KeyboardInterrupt

    reported, sys.unraisablehook = sys.unraisablehook, _exit_if_lost
    try:
        _handle(interrupt)
        result = command()
    finally:
        exit_on_interrupt()
        sys.unraisablehook = reported
    if interrupted:
        raise KeyboardInterrupt
    return result


def _handle(handler: Callable[..., None]) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _exit(*_: Any) -> None:
    os._exit(EXIT_CODE)


def _exit_if_lost(unraisable: Any) -> None:
    """End the process if the exception that Python is about to ignore is the interrupt."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _exit()
    sys.__unraisablehook__(unraisable)
