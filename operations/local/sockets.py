"""Choose the folder of an engine's unix socket: the engine's own, or one under /tmp if that path is too long.

The kernel accepts paths of 107 bytes (103 on macOS). A folder under /tmp has mode 0700 and a random name. A symbolic
link in the engine's folder points to it, so that a restart keeps the address and finds what a killed run left.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

_MAX_PATH_BYTES: Final = 100
_LINK: Final = "sockets"
_PREFIX: Final = "ingest-"
_PRIVATE: Final = 0o700
#: Not $TMPDIR, which is long on macOS.
_TMP: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it


def socket_folder(folder: Path, socket_name: str, owner: tuple[int, int] | None = None) -> Path:
    """Return the folder for the socket of the engine in `folder`, owned by `owner` (uid, gid) if given."""
    if len(os.fsencode(folder / socket_name)) <= _MAX_PATH_BYTES:
        return folder
    uid, gid = owner or (os.geteuid(), os.getegid())
    link = folder / _LINK
    if link.is_symlink() and _is_ours(link.readlink(), uid):
        return link.readlink()
    link.unlink(missing_ok=True)
    target = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_TMP))
    os.chown(target, uid, gid)
    link.symlink_to(target)
    return target


def remove_socket_folder(folder: Path) -> None:
    """Remove the folder under /tmp, if there is one."""
    link = folder / _LINK
    if not link.is_symlink():
        return
    target = link.readlink()
    if target.parent == _TMP and target.name.startswith(_PREFIX):
        shutil.rmtree(target, ignore_errors=True)
    link.unlink()


def _is_ours(target: Path, uid: int) -> bool:
    """Return whether a folder in /tmp belongs to `uid` and is closed to others: any user may create folders there."""
    if target.parent != _TMP or not target.name.startswith(_PREFIX):
        return False
    try:
        status = target.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and stat.S_IMODE(status.st_mode) == _PRIVATE
