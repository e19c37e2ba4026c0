"""Packages of other registries that tests need: installed into `.bench/` by the first test that asks for them.

A machine that can't reach a package registry skips these tests; in CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import pytest

from benchmarks.measure import BenchmarkError
from benchmarks.peers.environments import NodeModules, VirtualEnvironment

ROOT: Final = Path(__file__).resolve().parents[2]
_STAMP: Final = "compiled"

Installed = TypeVar("Installed", NodeModules, VirtualEnvironment)


def installed(packages: Installed) -> Installed:
    """Install what is pinned, unless it is installed already."""
    try:
        packages.prepare()
    except BenchmarkError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{packages.project.name} could not be installed, so it was NOT tested: {error}")
    return packages


def typescript_client() -> NodeModules:
    """Return a copy of the TypeScript client, compiled by the first test process that asks for it."""
    packages = NodeModules(ROOT / "clients" / "typescript")
    packages.folder.parent.mkdir(exist_ok=True)
    with (packages.folder.parent / "typescript.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed(packages)
        stamp, digest = packages.folder / _STAMP, _sources(packages.project)
        if not stamp.exists() or stamp.read_text() != digest:
            tsc(packages, "--project", "tsconfig.build.json")
            stamp.write_text(digest)
    return packages


def tsc(packages: NodeModules, *arguments: str) -> None:
    """Run the TypeScript compiler of the packages."""
    run(packages.node, "node_modules/typescript/bin/tsc", *arguments, folder=packages.folder)


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _sources(project: Path) -> str:
    files = sorted([*project.glob("src/*.ts"), *project.glob("*.json")])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
