"""Packages of other registries that tests need: installed into `.bench/` by the first test that asks for them.

A machine that can't reach a package registry skips these tests; in CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.measure import BenchmarkError
from benchmarks.peers.environments import NodeModules, VirtualEnvironment
from clients.build import compiled

Installed = TypeVar("Installed", NodeModules, VirtualEnvironment)


def installed(packages: Installed) -> Installed:
    """Install what is pinned, unless it is installed already."""
    with _skipping(packages.project.name):
        packages.prepare()
    return packages


def typescript_client() -> NodeModules:
    """Return a copy of the TypeScript client, compiled by the first test process that asks for it."""
    with _skipping("The TypeScript client"):
        return compiled()


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


@contextmanager
def _skipping(name: str) -> Iterator[None]:
    try:
        yield
    except BenchmarkError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{name} could not be installed, so it was NOT tested: {error}")
