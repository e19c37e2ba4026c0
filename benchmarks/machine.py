"""Date, commit, machine and versions of a measurement."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from operations.local.binaries import find_postgres_bin, find_valkey_server

_ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGES: Final = ("uvicorn", "starlette", "redis", "rq", "psycopg", "orjson", "msgspec")


class Run(msgspec.Struct):
    """One run of `make bench`."""

    date: str
    commit: str
    machine: str
    versions: str
    quick: bool
    #: Duration of the subject in seconds, set at its end.
    seconds: float = 0.0

    def text(self) -> str:
        """Return the line above the section."""
        where = f"*{self.date}, commit {self.commit}, {self.seconds:,.0f} s, on {self.machine}. {self.versions}.*"
        return f"{where} **Shortened (QUICK=1): not to be quoted.**" if self.quick else where


def this_run(*, quick: bool) -> Run:
    """Return the run that begins now."""
    moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return Run(date=moment, commit=_commit(), machine=_machine(), versions=_versions(), quick=quick)


def _commit() -> str:
    found = _told(["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"]) or "unknown"
    # Results of former runs do not change what is measured.
    clean = not _told(["git", "-C", str(_ROOT), "status", "--porcelain", "--", ".", ":!benchmarks"])
    return found if clean else f"{found} with changes"


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()} {platform.release()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _versions() -> str:
    told = [
        _told([str(find_postgres_bin() / "postgres"), "--version"]),
        _told([str(find_valkey_server()), "--version"]),
    ]
    engines = [match[0] for text in told if (match := re.search(r"\d+\.\d+(\.\d+)?", text))]
    wrk = re.search(r"wrk \S*?([\d.]+)", _told(["wrk", "-v"])) if shutil.which("wrk") else None
    names = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)]
    names += [f"{name} {number}" for name, number in zip(("PostgreSQL", "Valkey"), engines, strict=False)]
    return ", ".join([*names, *([f"wrk {wrk[1]}"] if wrk else [])])


def _told(command: list[str]) -> str:
    """Return the output of a program, '' if it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return ""
    return (done.stdout or (done.stderr if command[0] == "wrk" else "")).strip()
