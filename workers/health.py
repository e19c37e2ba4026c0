"""`python -m workers.health`: whether the workers and sweepers of this host or container live.

Prints one sentence, and ends with 0 or 1. By itself it asks what a liveness check must know: a process whose main loop
turns is alive, also while Redis or Postgres is away, since a restart would not bring them back. `--ready` also asks
whether the process can work now. It reads files (`liveness.py`) and asks no engine, so it answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from shared.process.settings import SettingError, read_settings
from workers.liveness import Sign, read_signs, run_folder

#: Age of a sign in seconds, from which on the process counts as hung: each sign may wait for Redis, and may be late on
#: a busy machine.
_HUNG_SECONDS: Final = 15.0


def assess(signs: Sequence[Sign], *, ready: bool, now: float) -> tuple[int, str]:
    """Return the exit code and the sentence."""
    if not signs:
        return 1, "No worker and no sweeper runs here."
    for sign in signs:
        age = now - sign.monotonic
        if age > _HUNG_SECONDS:
            return 1, f"The {sign.process} with pid {sign.pid} hangs: its main loop has not turned for {age:.0f} s."
    for sign in signs:
        if sign.problem:
            return int(ready), f"The {sign.process} with pid {sign.pid} is alive but can't work now: {sign.problem}"
    if len(signs) > 1:
        return 0, f"{len(signs)} processes are alive."
    return 0, f"The {signs[0].process} with pid {signs[0].pid} is alive."


def answer(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Return the exit code and the sentence for a command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.health", description="Tell whether workers live.")
    parser.add_argument("--ready", action="store_true", help="also ask whether they can work now")
    parser.add_argument("--pid", type=int, help="ask about one process instead of all of this host or container")
    asked = parser.parse_args(arguments)
    try:
        signs = list(read_signs(run_folder(read_settings(environ).run_dir)))
    except (SettingError, OSError) as error:
        return 1, str(error)
    asked_for = [sign for sign in signs if asked.pid in (None, sign.pid)]
    return assess(asked_for, ready=asked.ready, now=time.monotonic())


if __name__ == "__main__":
    code, sentence = answer(sys.argv[1:], os.environ)
    print(sentence)  # noqa: T201 - the answer
    sys.exit(code)
