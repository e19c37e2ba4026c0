"""Operators in browsers: log in, look, act."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import is_local
from tests.support.processes import PATIENCE
from tests.support.stack import Stack

PASSWORD = "correct horse battery staple"

expect.set_options(timeout=1000 * PATIENCE)


class Operator:
    """An operator with a browser of its own. What the browser complains about, or asks of other hosts, is kept."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.set_default_timeout(1000 * PATIENCE)
        page.on("console", lambda message: self._note(message.type in ("error", "warning"), message.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on("dialog", lambda dialog: self._note(True, f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._note(not is_local(request.url), request.url))

    def _note(self, is_wrong: bool, text: str) -> None:  # noqa: FBT001 - a handler's two values
        if is_wrong:
            self.complaints.append(text)

    def goes_to(self, path: str) -> str:
        """Open a page; return its HTML."""
        answer = self.page.goto(self.address + path)
        assert answer
        assert answer.status == 200, (path, answer.text())
        return answer.text()

    def logs_in(self, name: str, password: str = PASSWORD) -> None:
        """Fill in the login."""
        self.page.goto(f"{self.address}/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def chooses_a_password(self) -> None:
        """Replace the one-time password."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Choose a password")
        self.page.get_by_label("New password").fill(PASSWORD)
        self.page.get_by_label("The same again").fill(PASSWORD)
        self.page.get_by_role("button", name="Change the password").click()
        self.reads("Overview")

    def reads(self, title: str) -> None:
        """Wait until the page with this title is shown."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)


def console_of(stack: Stack) -> tuple[str, str, str]:
    """Return what `make run` printed: the console's address, and the name and password of its first login."""
    found = stack.made.says(r"^Console     (http://\S+)   \(log in as (\w+); the first time with the password (\S+)\)$")
    return found[1], found[2], found[3]


@contextmanager
def operator(browser: Browser, stack: Stack, name: str, role: str, address: str = "") -> Iterator[Operator]:
    """Log a new operator in, in a browser without cookies."""
    made = stack.ingestctl("operator", "create", name, "--role", role)
    with somebody(browser, address or console_of(stack)[0]) as found:
        found.logs_in(name, made["oneTimePassword"])
        found.chooses_a_password()
        yield found


@contextmanager
def somebody(browser: Browser, address: str, **options: Any) -> Iterator[Operator]:
    """Open a browser without cookies."""
    context = browser.new_context(**options)
    try:
        yield Operator(context.new_page(), address)
    finally:
        context.close()


def paths_of(html: str) -> set[str]:
    """Return the addresses of pages that a page links to."""
    return {
        one.replace("&amp;", "&") for one in re.findall(r'href="(/[^"#]*)"', html) if not one.startswith("/static/")
    }
