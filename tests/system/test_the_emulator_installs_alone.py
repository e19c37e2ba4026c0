"""The service's wheel with the extra `emulator`, in an environment that has nothing else: no engines, no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import Connector, batch, item
from tests.support.processes import ROOT, Process

pytestmark = pytest.mark.heavy

#: Seconds for the first start, in which Python compiles all that was installed.
FIRST_START = 120.0
PACKAGES = ("emulator", "ingest_api", "operations", "shared", "workers")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel, the extra and what these need."""
    folder = tmp_path_factory.mktemp("fresh")
    sources = folder / "sources"  # setuptools leaves what it built beside the sources
    for name in PACKAGES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run("-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources)
    run("-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    installed = run("-m", "uv", "pip", "install", "--quiet", "--python", python, f"{wheel}[emulator]", check=False)
    if installed.returncode and "CI" not in os.environ:
        pytest.skip(f"The wheel could not be installed, so it was NOT tested: {installed.stderr[-300:]}")
    assert installed.returncode == 0, installed.stderr
    return python


def run(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], check=check, capture_output=True, text=True, timeout=300)


def test_it_answers_without_engines(python: Path, tmp_path: Path) -> None:
    words = (python.with_name("ingestctl"), "emulate", "--port", "0", "--json")
    with Process(words, folder=tmp_path, name="emulator", PYTHONPATH="") as process:
        told = json.loads(process.says(r"^\{.*\}$", FIRST_START)[0])
        connector = Connector(told["connectorId"], told["credential"], told["url"])
        assert connector.post(batch(item("agent-1"))).status_code == 202


@pytest.mark.parametrize(
    ("missing", "command", "said"),
    [
        ("psycopg", "status", "The package psycopg is missing: install"),
        ("redis", "status", "The package redis is missing: install"),
        ("lupa", "emulate", "The emulator is not installed: pip install"),
    ],
)
def test_a_package_that_is_missing_is_named(python: Path, missing: str, command: str, said: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from operations.cli import main; main()"
    done = subprocess.run(
        [python, "-c", program, command], cwd=python.parent, check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert said in done.stderr
