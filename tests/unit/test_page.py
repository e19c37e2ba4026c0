"""The page of the API tells all of the OpenAPI document, holds together, and loads nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from html.parser import HTMLParser

import httpx
import pytest

from ingest_api.app import create_app
from ingest_api.errors import ErrorCode
from ingest_api.openapi.document import document
from ingest_api.openapi.page import page
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings


class Reader(HTMLParser):
    """Collects the tags that are open, the attributes and the texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value or "" for attribute, value in self.attributes if attribute == name]


def get(*paths: str, surfaces: frozenset[str] = frozenset({"data", "management"})) -> list[httpx.Response]:
    """Return what an API process without engines answers."""

    async def fetch() -> list[httpx.Response]:
        settings = Settings(
            database_url=SecretUrl("postgresql:///nowhere"), redis_url=SecretUrl("unix:///nowhere"), surfaces=surfaces
        )
        transport = httpx.ASGITransport(app=create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(fetch())


def test_every_operation_and_every_code_has_a_place_and_every_link_leads_to_one() -> None:
    reader = Reader(page(document()))

    places = reader.values("id")
    assert reader.open == []
    assert len(places) == len(set(places))
    assert {f"error-{code.text}" for code in ErrorCode} <= set(places)
    operations = [operation for methods in document()["paths"].values() for operation in methods.values()]
    assert {operation["operationId"] for operation in operations} <= set(places)
    assert set(reader.values("href")) <= {"openapi.json", *(f"#{place}" for place in places)}


def test_the_page_loads_nothing_and_its_policy_allows_its_own_style_only() -> None:
    (answer,) = get("/")

    reader = Reader(answer.text)
    assert not reader.tags & {"script", "link", "img", "iframe", "form", "object", "base"}
    assert not [name for name, _ in reader.attributes if name in ("src", "style") or name.startswith("on")]
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_is_the_same_at_each_address() -> None:
    first, *others = get("/", "/docs", "/datapool", "/datapool/", "/datapool/docs")

    assert first.status_code == 200
    assert first.headers["X-Request-Id"].startswith("req_")
    assert {answer.text for answer in others} == {first.text}


@pytest.mark.parametrize(("surface", "place"), [("data", "ingestItems"), ("management", "getConfiguration")])
def test_a_process_shows_only_the_surfaces_that_it_serves(surface: str, place: str) -> None:
    (answer,) = get("/docs", surfaces=frozenset({surface}))

    places = Reader(answer.text).values("id")
    assert [one for one in ("ingestItems", "getConfiguration") if one in places] == [place]
    assert "healthz" in places


def test_a_text_that_looks_like_html_stays_text() -> None:
    changed = document()
    changed["info"] |= {"title": "<script>", "description": "a < b & `<i>`"}

    text = page(changed)

    assert "<h1>&lt;script&gt;</h1>" in text
    assert "a &lt; b &amp; <code>&lt;i&gt;</code>" in text
