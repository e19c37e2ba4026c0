"""The data folder of `make run`: its lock, and how other processes find what runs in it.

    lock              held by the supervisor while it lives
    endpoints.json    addresses of the running engines and API (0600)
    demo-credential   the demo connector's credential (0600)
    secrets-key       the key of hooks' signing secrets (0600)
    valkey/ postgres/ an engine's data, its lock and its socket
    log/              the engines' own logs
    .gitignore        names everything here

The folder is created with mode 0700. Links of another user in it are refused: root would write through them. Only the
lock shows whether a run is alive: a pid in a file may have been reused.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from operations.local.errors import LocalError
from shared.process.endpoints import ENDPOINTS_FILE, LOCK_FILE, SECRETS_KEY_FILE, Endpoints
from shared.process.locks import take_lock

#: Maximum time to wait for the lock, in seconds; `find_endpoints` takes it briefly to test whether it is free.
_LOCK_TIMEOUT_SECONDS: Final = 0.5


@contextlib.contextmanager
def claim(path: Path) -> Iterator[Path]:
    """Lock the data folder at `path` until the block ends; yields its absolute path. Raises LocalError."""
    folder = path.expanduser().absolute()
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            (folder / ".gitignore").write_text("*\n")  # in a checkout, too, its secrets stay out of commits
        if planted := next(_planted_links(folder), None):
            raise LocalError(
                f"Another user has put the link {planted} into the data folder, and writing through it would change "
                "other files: remove it, or set DATA_DIR to a folder of your own."
            )
        lock = _wait_for_lock(folder / LOCK_FILE)
    except OSError as error:
        raise LocalError(
            f"The data folder {folder} can't be written: {error.strerror}; set DATA_DIR to a folder that can."
        ) from error
    if lock is None:
        raise LocalError(f"Something runs in {folder} already: stop it, or set DATA_DIR (and PORT) to others.")
    try:
        (folder / ENDPOINTS_FILE).unlink(missing_ok=True)
        yield folder
    finally:
        (folder / ENDPOINTS_FILE).unlink(missing_ok=True)
        os.close(lock)


def _planted_links(folder: Path) -> Iterator[Path]:
    """Yield links, symbolic or to a file, of users other than this one and root, where engines and runs write."""
    own = (0, os.geteuid())
    for path in (folder, *folder.glob("*"), *folder.glob("*/*"), *folder.glob("valkey/*/**/*")):
        status = path.lstat()
        is_link = stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1)
        if is_link and status.st_uid not in own:
            yield path


def announce(folder: Path, endpoints: Endpoints) -> None:
    """Write the endpoints for other processes to find."""
    members = {
        "databaseUrl": endpoints.database_url,
        "redisUrl": endpoints.redis_url,
        "apiUrl": endpoints.api_url,
        "pid": endpoints.pid,
    }
    write_private(folder / ENDPOINTS_FILE, json.dumps(members, indent=2) + "\n")


def secrets_key(folder: Path) -> str:
    """Return the key of hooks' signing secrets that the folder keeps; the first run makes it."""
    file = folder / SECRETS_KEY_FILE
    if not file.exists():
        write_private(file, base64.b64encode(os.urandom(32)).decode() + "\n")
    return file.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Replace the file at `path`, readable by its owner alone; readers see the old text or the new one."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _wait_for_lock(path: Path) -> int | None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
    while (lock := take_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return lock
