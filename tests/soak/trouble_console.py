"""An operator without a browser, who follows links from the overview of the console."""

from __future__ import annotations

import html
import re
from typing import Self

import httpx

from tests.support.client import NO_TLS
from tests.support.operators import PASSWORD
from tests.support.stack import Stack

_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_ENTRY = re.compile(r'<li class="(?:urgent|later)">(.*?)</li>', re.DOTALL)
_REMEDY = '<span class="remedy">'
_LINK = re.compile(r'<a href="([^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
_TIMEOUT_SECONDS = 30
MOST_CLICKS = 2


class Console:
    """A session of an operator who may only look."""

    def __init__(self, stack: Stack, address: str) -> None:
        made = stack.ingestctl("operator", "create", "looker", "--role", "viewer")
        self._client = httpx.Client(
            base_url=address,
            headers={"Origin": address},
            follow_redirects=True,
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            verify=NO_TLS,
        )
        login = {"name": "looker", "password": made["oneTimePassword"]}
        asked = self._client.post("/login", data=login)
        token = _TOKEN.search(asked.text)
        assert token, asked.text
        chosen = {"token": token[1], "password": PASSWORD, "again": PASSWORD}
        assert self._client.post("/password", data=chosen).url.path == "/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def clicks_to(self, subject: str) -> int | None:
        """Return after how many clicks the page of a trouble's subject is shown; None if it is not within two.

        The first one is on the entry of the overview that names the subject and says what to do, the second one on a
        link that names the subject.
        """
        address = next((href for href, text, remedy in self._entries() if subject in text and remedy), None)
        for clicks in range(1, MOST_CLICKS + 1):
            if address is None:
                return None
            page = self._page(address)
            if subject in _text(page):
                return clicks
            address = next((href for href, text in _links(page) if subject in text), None)
        return None

    def _entries(self) -> list[tuple[str, str, str]]:
        """Return address and text of what the overview says to need an operator, and what it says to do."""
        entries = _ENTRY.findall(self._page("/"))
        return [(*_links(entry)[0], _text(entry.partition(_REMEDY)[2])) for entry in entries]

    def _page(self, address: str) -> str:
        answer = self._client.get(address)
        assert answer.status_code == 200, (address, answer.status_code, _text(answer.text)[:500])
        return answer.text


def _links(page: str) -> list[tuple[str, str]]:
    return [(html.unescape(href), _text(text)) for href, text in _LINK.findall(page)]


def _text(page: str) -> str:
    """Return what is read on a page."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page)))
