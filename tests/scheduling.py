"""Which tests run in one process, for pytest-xdist: those that share an installation, otherwise those of a file.

An idle installation takes 4 % of a core, and its start 10 s of CPU, so each is to be started once. `workerless` is
started twice: its tests mostly wait, and all in one process would take longer than the others. The process that
distributes the tests knows only their names, so the installation is read from their parameters. If it is guessed wrong,
a process starts an installation of its own, which takes time only.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped] # xdist has no types

WORKERLESS, STACK = "workerless", "stack"
#: Tests of `workerless` that need little of it: they start engines of their own.
OWN_ENGINES = "own engines"
_ROOT = Path(__file__).parents[1]
_STARTS_ENGINES = re.compile(r"^from tests\.support\.(?:cluster|installation|replicated|sentinels) ", re.MULTILINE)
_TEST = re.compile(r"^def (test_\w+)\((.*?)\) ->", re.MULTILINE | re.DOTALL)


class InstallationScheduling(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """Distributes groups of tests in their order."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the name of the group: an installation or the path of a file."""
    path, _, test = nodeid.partition("::")
    return _groups(path).get(test.partition("[")[0], path)


@cache
def _groups(path: str) -> dict[str, str]:
    """Return the installation of each test of a file that uses one."""
    text = (_ROOT / path).read_text("utf-8") if path.startswith("tests/system/") else ""
    uses_stack = f"{STACK}: Stack" in text
    if not uses_stack and f"{WORKERLESS}: Stack" not in text:
        return {}
    workerless = OWN_ENGINES if _STARTS_ENGINES.search(text) else WORKERLESS
    return {
        name: workerless if WORKERLESS in words or "crowd" in words or not uses_stack else STACK
        for name, words in _TEST.findall(text)
    }
