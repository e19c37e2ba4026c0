"""Where an engine's unix socket lies: in its folder, or under /tmp where that path would be too long.

The kernel takes 107 bytes (103 on macOS). A folder under /tmp is 0700 with a random name; a symbolic link in the
engine's folder remembers it, so that a restart keeps its address and nothing is left when a run was killed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

_LONGEST_PATH_BYTES: Final = 100
_LINK: Final = "sockets"
_PREFIX: Final = "ingest-"
_OURS_ALONE: Final = 0o700
#: Not $TMPDIR, which on macOS is long itself.
_TMP: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of our own in it


def socket_folder(folder: Path, socket_name: str, owner: tuple[int, int] | None = None) -> Path:
    """The folder for the socket of the engine in `folder`, which belongs to `owner` (uid, gid) if one is given."""
    if len(os.fsencode(folder / socket_name)) <= _LONGEST_PATH_BYTES:
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
    """After a clean stop: the folder under /tmp goes, if there was one."""
    link = folder / _LINK
    if not link.is_symlink():
        return
    target = link.readlink()
    if target.parent == _TMP and target.name.startswith(_PREFIX):
        shutil.rmtree(target, ignore_errors=True)
    link.unlink()


def _is_ours(target: Path, uid: int) -> bool:
    """Anyone may make folders in /tmp: one that isn't ours, or that others may enter, is not used."""
    if target.parent != _TMP or not target.name.startswith(_PREFIX):
        return False
    try:
        status = target.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and stat.S_IMODE(status.st_mode) == _OURS_ALONE
