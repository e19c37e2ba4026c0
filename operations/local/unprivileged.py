"""Choose the user that Postgres runs as: it refuses root, and initdb refuses a user without an entry in passwd.

As root, these are tried in order, each with the server's own binary and a write into its folder:

1. the owner of the existing data, else of the data folder, unless that is root;
2. root in a user namespace in which its id is that of `nobody`. No file changes its owner, and a checkout in root's
   home works without access for others;
3. `nobody`, which then owns the Postgres folder and may traverse (not list) the data folder.

On Linux a user without an entry, as containers may have, gets one in a namespace too.
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
from operations.local.errors import LocalError

_PROBE_SECONDS: Final = 10.0
_PROBE: Final = 'touch "$1/.probe" && rm "$1/.probe" && exec "$2" --version'


def choose_user(postgres: Path, folder: Path) -> RunAs | None:
    """Return the user for `postgres` on `folder`, which is given to it; None: the present user. Raises LocalError."""
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
    """Yield users in the order in which they are tried."""
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
    """Change the owner of `folder` and its contents to `user`."""
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
    """Return the user `nobody`, or its usual number."""
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
