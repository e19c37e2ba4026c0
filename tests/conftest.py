"""Settings of all layers: Hypothesis on a busy machine, an order in which two cores end together, interrupts."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import preloaded
from tests.scheduling import OWN_ENGINES, STACK, WORKERLESS, InstallationScheduling, group_of

# Without stored bytecode, each of the processes that tests start would compile the product, and each process of
# pytest-xdist the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: Linux keeps this folder in memory.
_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest and mkdtemp make private folders in it
#: Room in bytes that it must have: several times what the files of a run were seen to take.
_ROOM_BYTES = 4_000_000_000


def _has_room(folder: Path) -> bool:
    """Return whether programs can be started from a folder, and the files of a run fit into it."""
    if not folder.is_dir():
        return False
    status = os.statvfs(folder)
    return not status.f_flag & os.ST_NOEXEC and status.f_bavail * status.f_frsize > _ROOM_BYTES


# Engines wait for the disk at each commit, and a new database has 600 files: in memory, it takes a sixth of the CPU
# time. Tests kill processes, not machines, so that they lose no file; the soak runs on the disk.
if "TMPDIR" not in os.environ and _has_room(_MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

if "PYTEST_XDIST_WORKER" not in os.environ:
    preloaded.share()

pytest.register_assert_rewrite("tests.support")  # before a layer imports it

settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("suite")

#: The groups that take longest. A group runs in one process, so that a long one must not be the last.
_LONGEST = (
    WORKERLESS,
    STACK,
    OWN_ENGINES,
    "tests/system/test_make_run.py",
    "tests/system/test_nothing_accepted_is_lost.py",
    "tests/integration/test_local_run.py",
    "tests/integration/test_local_engines.py",
    "tests/integration/test_cli_interrupts.py",
    "tests/integration/test_cli.py",
    "tests/clients/test_typescript_client.py",
    "tests/integration/test_session_settings.py",
    "tests/integration/test_openapi_generators.py",
    "tests/clients/test_conform.py",
)
_LAYERS = ("system", "integration", "clients", "unit")

# A script starts its background jobs with SIGINT ignored. Processes that tests start would inherit that, and a test
# that interrupts one would see it continue. Python's own handler becomes the default action in a new process.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the groups of tests: the longest first, the short ones of the unit layer last."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    group, layer = group_of(item.nodeid), item.path.parent.name
    return (
        _LONGEST.index(group) if group in _LONGEST else len(_LONGEST),
        _LAYERS.index(layer) if layer in _LAYERS else len(_LAYERS),
    )


@pytest.hookimpl(optionalhook=True)  # with -p no:xdist there is none
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> InstallationScheduling | None:
    """Return what distributes the tests, unless the command line asks for something else."""
    return InstallationScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
