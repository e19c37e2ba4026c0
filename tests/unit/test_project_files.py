"""The files at the top: what they name exists, dependencies are pinned, and no registry is named."""

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
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

#: `name==version`, an optional marker, then hashes; no address and no option.
PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(?P<version>[^ ;]+)(?: ; [^-]+?)?(?: +--hash=sha256:[0-9a-f]{64})+"
)
#: Built from parts, so that this file does not match it.
REGISTRY = re.compile(
    "(" + "|".join(("py" + "pi", "python" + "hosted", "npm" + "js", "deb" + "ian")) + r")\.(org|net|com)"
)


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_make_help_has_a_line_for_every_target(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    printed = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert re.findall(r"^  make (\w+) +\S.*$", printed, re.MULTILINE) == phony[1].split()


def procfile_commands() -> Iterator[list[str]]:
    for line in (ROOT / "Procfile").read_text().splitlines():
        words = shlex.split(line.partition(": ")[2])
        yield [word for word in words if "=" not in word]


def compose_commands() -> Iterator[list[str]]:
    for line in re.findall(r"^ +command: (.*)$", (ROOT / "compose.yaml").read_text(), re.MULTILINE):
        words: list[str] = json.loads(line)
        if words[0] != "valkey-server":
            yield words


@pytest.mark.parametrize("words", [*procfile_commands(), *compose_commands()], ids=shlex.join)
def test_each_command_of_the_procfile_and_compose_exists(words: list[str]) -> None:
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
        assert '__name__ == "__main__"' in Path(spec.origin).read_text(), f"{words[2]} does nothing when run"


def test_the_image_and_the_coverage_report_include_every_package() -> None:
    packages = {pattern.removesuffix("*") for pattern in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}

    assert packages <= set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert packages == set(PYPROJECT["tool"]["coverage"]["run"]["source"])


def test_pre_commit_runs_the_tools_of_make_check() -> None:
    hooks = re.findall(r"entry: \.venv/bin/python -m (\w+(?: \w+)?)", (ROOT / ".pre-commit-config.yaml").read_text())
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert check
    assert hooks == re.findall(r"-m (\w+(?: [a-z]+)?)", check[1])


def pins(name: str) -> dict[str, str]:
    text = re.sub(r"#.*", "", (ROOT / name).read_text()).replace("\\\n", " ")
    found = [(line, PIN.fullmatch(re.sub(r" +", " ", line.strip()))) for line in text.splitlines() if line.strip()]
    assert [line for line, pin in found if not pin] == []
    return {pin["name"]: pin["version"] for _, pin in found if pin}


def test_dependencies_are_pinned_by_hash_and_without_an_address() -> None:
    assert (
        wanted(PROJECT["dependencies"], PROJECT["optional-dependencies"]["embedded"]) <= pins("requirements.txt").keys()
    )


def test_the_pins_for_development_include_those_for_running_and_the_tools() -> None:
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
