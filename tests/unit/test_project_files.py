"""The files at the top: what they name exists, what they pin is pinned, and they tell nobody's addresses."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: `name==version`, perhaps a marker, then hashes and nothing else: no address, no option.
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; [^-]+?)?(?: +--hash=sha256:[0-9a-f]{64})+")
#: Built from parts, so that this file holds none of them.
REGISTRY = re.compile(
    "(" + "|".join(("py" + "pi", "python" + "hosted", "npm" + "js", "deb" + "ian")) + r")\.(org|net|com)"
)


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_make_help_names_every_target_with_a_line(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    told = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert re.findall(r"^  make (\w+) +\S.*$", told, re.MULTILINE) == phony[1].split()


def procfile_commands() -> Iterator[list[str]]:
    for line in (ROOT / "Procfile").read_text().splitlines():
        words = shlex.split(line.partition(": ")[2])
        yield words[1:] if "=" in words[0] else words


def compose_commands() -> Iterator[list[str]]:
    for line in re.findall(r"^ +command: (.*)$", (ROOT / "compose.yaml").read_text(), re.MULTILINE):
        words: list[str] = json.loads(line)
        if words[0] != "valkey-server":
            yield words


@pytest.mark.parametrize("words", [*procfile_commands(), *compose_commands()], ids=shlex.join)
def test_a_process_that_a_platform_starts_is_there(words: list[str]) -> None:
    if words[0] in PROJECT["scripts"]:
        module, _, function = PROJECT["scripts"][words[0]].partition(":")
        assert callable(getattr(import_module(module), function))
        return
    assert words[:2] == ["python", "-m"]
    spec = find_spec(words[2])
    if spec and spec.submodule_search_locations:
        spec = find_spec(f"{words[2]}.__main__")
    assert spec, f"{words[2]} can't be run with python -m"
    assert spec.origin
    if not spec.name.endswith(".__main__"):
        assert '__name__ == "__main__"' in Path(spec.origin).read_text(), f"{words[2]} does nothing when it is run"


def pins(name: str) -> dict[str, str]:
    text = re.sub(r"#.*", "", (ROOT / name).read_text()).replace("\\\n", " ")
    found = [(line, PIN.fullmatch(re.sub(r" +", " ", line.strip()))) for line in text.splitlines() if line.strip()]
    assert [line for line, pin in found if not pin] == []
    return {pin["name"]: pin["version"] for _, pin in found if pin}


def test_whatever_runs_is_pinned_by_hash_and_without_an_address() -> None:
    assert (
        wanted(PROJECT["dependencies"], PROJECT["optional-dependencies"]["embedded"]) <= pins("requirements.txt").keys()
    )


def test_the_pins_of_development_hold_those_of_running_and_the_tools() -> None:
    development = pins("requirements-dev.txt")
    assert pins("requirements.txt").items() <= development.items()
    assert wanted(PROJECT["optional-dependencies"]["dev"]) <= development.keys()


def wanted(*lists: list[str]) -> set[str]:
    return {re.split(r"[^a-z0-9-]", requirement)[0] for requirements in lists for requirement in requirements}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert [path for path in project_files() if REGISTRY.search(path.read_text(errors="replace"))] == []


def project_files() -> Iterator[Path]:
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in ignored)]
        yield from (path for name in names if (path := Path(folder, name)).is_file())
