"""A real Chromium without root: Debian's, or that of the npm package `@sparticuz/chromium`, installed below `.bench/`.

`tests/browser/` pins the packages. A machine that can reach no registry and has no Chromium skips the tests that need
one, with the reason; in CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from benchmarks.measure import BenchmarkError
from benchmarks.peers.environments import NodeModules
from tests.support.processes import ROOT, Process

_PACKAGES = NodeModules(ROOT / "tests" / "browser")
_ON_THE_SYSTEM = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = (
    "--headless=shell",
    "--no-sandbox",  # the tests' user may be root, and there may be no user namespaces
    "--no-zygote",
    "--in-process-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_FONTS = (
    "<fontconfig><dir>{folder}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>"
)
#: Deadline in seconds for the first start on a busy machine.
_START_SECONDS = 60.0


def axe() -> str:
    """Return the source of axe-core."""
    _prepare()
    return (_PACKAGES.folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile in `folder`, and drive it."""
    program, libraries = _program()
    words = [str(program), *_SWITCHES, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    paths = {"LD_LIBRARY_PATH": libraries / "lib", "FONTCONFIG_FILE": libraries / "fonts.conf"} if libraries else {}
    with Process(words, folder=folder, name="chromium", HOME=folder, **paths) as process:
        address = process.says(r"^DevTools listening on (ws://\S+)$", _START_SECONDS)[1]
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(address)
            try:
                yield browser
            finally:
                with contextlib.suppress(Exception):  # the browser may have ended
                    browser.close()


def _program() -> tuple[Path, Path | None]:
    """Return the program, and the folder of its libraries if they are not the system's."""
    for name in _ON_THE_SYSTEM:
        if found := shutil.which(name):
            return Path(found), None
    _prepare()
    folder = _PACKAGES.folder / "chromium"
    if not (folder / "chromium").exists():
        _unpack(folder)
    return folder / "chromium", folder


def _prepare() -> None:
    try:
        _PACKAGES.prepare()
    except BenchmarkError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"Chromium could not be installed, so the operators' page was NOT tested in a browser: {error}")


def _unpack(target: Path) -> None:
    """Unpack the program and its libraries. The folder gets its name last: an interrupted run begins again."""
    folder = target.with_name(f"{target.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run([_PACKAGES.node, "unpack.mjs", str(folder)], cwd=_PACKAGES.folder, check=True, timeout=120)
    for archive in folder.glob("*.tar"):
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        archive.unlink()
    (folder / "chromium").chmod(0o755)
    for library in folder.glob("*.so*"):  # SwiftShader's
        library.chmod(0o755)
    (folder / "fonts.conf").write_text(_FONTS.format(folder=target))
    folder.rename(target)


def is_local(url: str) -> bool:
    """Return whether an address is on this machine."""
    return re.match(r"(https?://127\.0\.0\.1:\d+/|data:|about:)", url) is not None
