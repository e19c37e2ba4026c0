"""The user that Postgres runs as when `make run` is started by root."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.local import postgres, unprivileged
from operations.local.child import RunAs
from operations.local.data_dir import claim
from operations.local.engines import engines
from operations.local.errors import LocalError
from shared.process.locks import is_locked
from tests.integration.local_tools import kept, new_data_folder, put

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")


@pytest.fixture
def new_folder() -> Iterator[Path]:
    with new_data_folder() as path:
        yield path


def test_a_link_that_another_user_has_put_into_the_data_folder_is_refused(tmp_path: Path) -> None:
    other, victim = unprivileged.nobody(), tmp_path / "victim"
    victim.mkdir()
    for number, place in enumerate((".", "log", "postgres", "valkey", "lock", "log/valkey.log", "valkey/aof/x.aof")):
        folder = tmp_path / f"data-{number}"
        link = folder / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(victim)
        for path in (folder, link):
            os.chown(path, other.uid, other.gid, follow_symlinks=False)

        with pytest.raises(LocalError, match=r"^Another user has put the link .*\.$"), claim(folder):
            pass

        os.chown(link, 0, 0, follow_symlinks=False)  # root's own link leads where root wants
        if place in ("log", "postgres", "valkey"):
            with claim(folder):
                pass
    assert list(victim.iterdir()) == []


def test_postgres_runs_as_root_under_a_folder_others_cannot_enter(new_folder: Path) -> None:
    closed = new_folder.parent
    closed.chmod(0o700)
    before = [path.stat().st_mode for path in new_folder.parents]
    try:
        with engines(new_folder) as found:
            put(found, "kept")
            assert kept(found) == ("kept", b"kept")
    except LocalError as error:
        pytest.skip(f"no user namespaces here: {error}")
    assert [path.stat().st_mode for path in new_folder.parents] == before
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700


def test_postgres_runs_as_nobody_if_user_namespaces_are_refused(
    new_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = unprivileged.nobody()
    monkeypatch.setattr(unprivileged, "candidates", lambda _folder: iter([nobody]))
    before = [path.stat().st_mode for path in new_folder.parents]
    with engines(new_folder) as found:
        put(found, "kept")
        status = Path(f"/proc/{found.postgres.pid}").stat() if sys.platform == "linux" else None
        assert status is None or status.st_uid == nobody.uid
    monkeypatch.undo()
    # `nobody` owns the data now: the next run, with all candidates, uses it.
    with engines(new_folder) as found:
        assert kept(found) == ("kept", b"kept")
        assert found.postgres.run_as == nobody
    assert [path.stat().st_mode for path in new_folder.parents] == before
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o701


@pytest.mark.parametrize("has_entry", [True, False], ids=["known", "without an entry in passwd"])
def test_postgres_runs_as_the_owner_of_the_data_folder(new_folder: Path, *, has_entry: bool) -> None:
    owner = pwd.getpwnam("daemon").pw_uid if has_entry else 12345
    new_folder.mkdir(mode=0o700)
    os.chown(new_folder, owner, 12346)
    with engines(new_folder) as found:
        assert found.postgres.run_as == RunAs(owner, 12346, None if has_entry else unprivileged.nobody().uid)
        put(found, "kept")
        assert kept(found) == ("kept", b"kept")
    assert (new_folder / "postgres" / "data").stat().st_uid == owner
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700


def test_no_user_for_postgres_is_one_sentence(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_postgres_bin", lambda: Path("/nowhere"))
    with pytest.raises(LocalError, match="ordinary user"), engines(new_folder):
        pass
    assert not is_locked(new_folder / "valkey" / "lock")
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700
