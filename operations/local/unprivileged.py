"""Postgres refuses to run as root, and initdb as someone without an entry in passwd: find someone it can run as.

Tried in this order when we are root, each for real, with the server's own binary and a write into its folder:

1. whoever owns the data that is there, else the data folder, if that isn't root;
2. root under another name: a user namespace in which our id is `nobody`'s. Nothing changes owner, and a checkout that
   lies in root's home works, with no parent folder opened;
3. `nobody` itself, who then owns the Postgres folder, and may pass through (not list) the data folder.

Someone without an entry, as a container may have, gets one by the namespace too, on Linux.
"""

from __future__ import annotations

import os
import pwd
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from operations.local.child import RunAs, spawn
from operations.local.faults import LocalError

_PROBE_SECONDS: Final = 10.0
_PROBE: Final = 'touch "$1/.probe" && rm "$1/.probe" && exec "$2" --version'


def choose_user(postgres: Path, folder: Path) -> RunAs | None:
    """Whom to run `postgres` as on `folder`, which is made theirs; None: as ourselves. Raises LocalError."""
    if os.geteuid() != 0 and _has_entry(os.geteuid()):
        return None
    for candidate in candidates(folder):
        hand_over(folder, candidate)
        mode = folder.parent.stat().st_mode
        _let_through(folder.parent, candidate)
        if _works(candidate, postgres, folder):
            return candidate
        if folder.parent.stat().st_mode != mode:
            folder.parent.chmod(stat.S_IMODE(mode))
    raise LocalError(
        f"PostgreSQL doesn't run as root, and no other user can reach {postgres.parent} and {folder}: "
        "start as an ordinary user, or set DATA_DIR to a folder that an ordinary user owns and can reach."
    )


def candidates(folder: Path) -> Iterator[RunAs]:
    """In the order in which they are tried."""
    if os.geteuid() != 0:
        yield _named(os.geteuid(), os.getegid())
        return
    data = folder / "data"
    owner = (data if data.exists() else folder.parent).stat()
    if owner.st_uid != 0:
        yield _named(owner.st_uid, owner.st_gid)
    if sys.platform == "linux":
        yield RunAs(0, 0, alias=nobody().uid)
    yield nobody()


def hand_over(folder: Path, user: RunAs) -> None:
    """Make `folder` and what is in it `user`'s."""
    if folder.stat().st_uid == user.uid:
        return
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(where, name), user.uid, user.gid, follow_symlinks=False)
    os.chown(folder, user.uid, user.gid)


def _named(uid: int, gid: int) -> RunAs:
    return RunAs(uid, gid, alias=None if _has_entry(uid) or sys.platform != "linux" else nobody().uid)


def _has_entry(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def nobody() -> RunAs:
    """The user without rights, or its usual number."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return RunAs(65534, 65534)
    # macOS gives nobody the number -2.
    return RunAs(entry.pw_uid, entry.pw_gid)


def _let_through(data_dir: Path, user: RunAs) -> None:
    status = data_dir.stat()
    if status.st_uid == 0 != user.uid:
        data_dir.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def _works(user: RunAs, postgres: Path, folder: Path) -> bool:
    with tempfile.TemporaryFile() as output:
        probe = spawn(
            ["/bin/sh", "-c", _PROBE, "probe", folder, postgres],
            death_signal=signal.SIGKILL,
            environ={"PATH": os.defpath},
            output=output,
            run_as=user,
        )
        try:
            return probe.wait(_PROBE_SECONDS) and probe.ended() == 0
        finally:
            probe.kill()
