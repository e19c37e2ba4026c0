"""Build the client packages: `python -m clients.build FOLDER`, which `make clients` runs."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.peers.environments import NodeModules

_HERE: Final = Path(__file__).parent
_LICENCE: Final = _HERE.parent / "LICENSE"
_STAMP: Final = "compiled"
#: What is made from the sources or installed beside them.
_MADE: Final = ("node_modules", "dist", "build", "*.egg-info", "__pycache__")


def main() -> None:
    """Build all packages into the folder that is named."""
    folder = Path(sys.argv[1]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for build in (wheel, tarball):
        print(build(folder))  # noqa: T201 - the command's answer


def wheel(folder: Path) -> Path:
    """Build the wheel of the Python client; return its path."""
    with tempfile.TemporaryDirectory() as scratch:  # setuptools leaves what it built beside the sources
        sources = Path(scratch, "python")
        shutil.copytree(_HERE / "python", sources, ignore=shutil.ignore_patterns(*_MADE))
        shutil.copy(_LICENCE, sources)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources)
    return next(folder.glob("inspire_ingest-*.whl"))


def tarball(folder: Path) -> Path:
    """Build the npm tarball of the TypeScript client; return its path."""
    package = compiled()
    shutil.copy(_LICENCE, package.folder)
    _run(*(package.npm() or ()), "pack", "--silent", "--pack-destination", folder, cwd=package.folder)
    return next(folder.glob("inspire-ingest-*.tgz"))


def compiled() -> NodeModules:
    """Return a copy of the TypeScript client, compiled unless it is already; raise BenchmarkError without packages."""
    package = NodeModules(_HERE / "typescript")
    digest, stamp = _digest(package.project), package.folder / _STAMP
    with _locked(package.folder.with_suffix(".lock")):  # tests run in several processes
        if not stamp.exists() or stamp.read_text() != digest:
            for name in ("src", "tests", "examples", "dist"):
                shutil.rmtree(package.folder / name, ignore_errors=True)
            package.prepare()
            compiler = package.folder / "node_modules" / "typescript" / "bin" / "tsc"
            _run(package.node, compiler, "--project", "tsconfig.build.json", cwd=package.folder)
            stamp.write_text(digest)
    return package


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(project: Path) -> str:
    files = (path for path in sorted(project.rglob("*")) if path.is_file() and not set(path.parts) & set(_MADE))
    return hashlib.sha256(b"\0".join(b"%a %b" % (str(file), file.read_bytes()) for file in files)).hexdigest()


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
