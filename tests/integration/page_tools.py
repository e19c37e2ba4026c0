"""Browsers of operators, as far as HTTP goes: cookies, and the token of the last page's form."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from operations.console.pages import sessions
from operations.passwords import hash_password
from operations.roles import Role
from shared.postgres.connections import Connection
from tests.integration.console_tools import Console

PASSWORD = "correct horse battery staple"
_HERE = {"Origin": "http://console"}
_INSERT = b"INSERT INTO operators (name, role, password) VALUES (%s, %s, %s) RETURNING operator_id"

LogIn = Callable[[str, Role], "Browser"]


@cache
def _hash() -> str:
    """Hash the password once: it takes long."""
    return hash_password(PASSWORD)


class Browser:
    """What a browser keeps: cookies; and how it sends forms."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.cookies: dict[str, str] = {}
        self.token = ""

    def get(self, path: str) -> httpx.Response:
        return self._send("GET", path)

    def post(self, path: str, headers: dict[str, str] = _HERE, /, **fields: str) -> httpx.Response:
        return self._send("POST", path, data={"token": self.token, **fields}, headers=headers)

    def log_in(self, name: str, password: str, headers: dict[str, str] = _HERE) -> httpx.Response:
        return self.post("/login", headers, name=name, password=password)

    def _send(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        kept = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        request = self._console.client.request(method, path, headers=kept | (headers or {}), **options)
        answer = self._console.runner.run(request)
        self.cookies |= dict(answer.cookies)
        self._console.client.cookies.clear()
        if found := re.search(r'name="token" value="(\w+)"', answer.text):
            self.token = found[1]
        return answer


def logging_in(console: Console, connection: Connection) -> LogIn:
    """Return what makes an operator and logs it in."""

    def make(name: str, role: Role) -> Browser:
        row = connection.execute(_INSERT, (name, role.value, _hash())).fetchall()[0]
        browser = Browser(console)
        browser.cookies["console"] = sessions.begin(connection, row["operator_id"], address="", browser="")
        assert browser.get("/").status_code == 200
        return browser

    return make
