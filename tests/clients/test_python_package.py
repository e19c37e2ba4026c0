"""The Python client as its authors get it: a wheel, installed with its dependencies where nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from clients.build import wheel
from tests.clients.service import Service
from tests.support.processes import ROOT

#: The oldest Python that the package promises, if this machine has one.
_OLDEST = "python3.9"


def run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel and its dependencies alone."""
    folder = tmp_path_factory.mktemp("fresh")
    oldest = shutil.which(_OLDEST)
    works = oldest and subprocess.run([oldest, "-c", "import venv"], check=False, capture_output=True).returncode == 0
    python = folder / "bin" / "python"
    if oldest and works:
        run(oldest, "-m", "venv", "--without-pip", folder)
    else:
        venv.create(folder, symlinks=True)
    # pip takes several times as much CPU, but knows of registries that are named in its own settings.
    for words in (["uv", "pip", "install", "--python", python], ["pip", "--python", python, "install"]):
        command = [sys.executable, "-m", *map(str, words), "--quiet", str(wheel(folder))]
        installed = subprocess.run(command, check=False, capture_output=True, text=True)
        if not installed.returncode:
            break
    if installed.returncode and "CI" not in os.environ:
        pytest.skip(f"The wheel could not be installed, so it was NOT tested: {installed.stderr[-300:]}")
    assert installed.returncode == 0, installed.stderr
    return python


def test_the_first_ten_lines_run(python: Path, service: Service) -> None:
    readme = (ROOT / "clients" / "python" / "README.md").read_text()
    first = re.search(r"```python\n(from inspire_ingest import Connector\n.*?)```", readme, re.DOTALL)
    assert first
    environment = {"INSPIRE_BASE_URL": service.url, "INSPIRE_INGEST_KEY": "ik_test"}

    printed = run(python, "-W", "error", "-c", first[1], **environment)

    assert "2 items accepted" in printed
    assert service.ids == ["1001", "1002"]


def test_every_module_is_there_and_the_command_works(python: Path, service: Service, tmp_path: Path) -> None:
    source = ROOT / "clients" / "python" / "src"
    modules = [".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")]
    run(python, "-W", "error", "-c", f"import {', '.join(sorted(modules)).replace('.__init__', '')}")
    file = tmp_path / "agents.jsonl"
    file.write_text('{"id":1,"n":[1.5]}\n')

    environment = {"INSPIRE_BASE_URL": service.url, "INSPIRE_INGEST_KEY": "ik_test"}
    printed = run(python.with_name("inspire"), "push", file, "--stream", "agents", "--json", **environment)

    assert '"accepted": 1' in printed
    assert service.rows == [{"id": "1", "fields": {"n": "[1.5]"}}]


def test_types_are_found(python: Path) -> None:
    assert [*python.parents[1].glob("lib/python*/site-packages/inspire_ingest/py.typed")]
