"""Edge and DataPool work behind one address: Caddy with the lines of `docs/reverse-proxy.md`."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.body_cases import BODY_LIMIT, in_chunks, of_size
from tests.support.client import (
    GZIP,
    JSON,
    Connector,
    assert_accepted,
    assert_refused,
    assert_well_formed,
    batch,
    get,
    item,
)
from tests.support.processes import ROOT, Process, free_port, wait_until
from tests.support.stack import Api, Stack

_PAGE = ROOT / "docs" / "reverse-proxy.md"
_ADDRESS = "https://inspire.example.com/datapool"
_TOO_LARGE = 5


@dataclass(frozen=True)
class Site:
    """The address that connectors use, and the two processes behind it."""

    url: str
    edge: Api
    datapool: Api


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Caddy in front of an Edge process and a DataPool process."""
    folder = tmp_path_factory.mktemp("caddy")
    with ExitStack() as contexts:
        edge = contexts.enter_context(stack.api(SURFACES="management", DATAPOOL_ADDRESS=_ADDRESS))
        datapool = contexts.enter_context(stack.api(SURFACES="data"))
        url = f"http://127.0.0.1:{free_port()}"
        config = folder / "Caddyfile"
        config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + _documented(url, edge, datapool))
        words: list[str | Path] = [
            Path(sys.executable).parent / "caddy",
            "run",
            "--config",
            config,
            "--adapter",
            "caddyfile",
        ]
        # Caddy keeps its own files in the folder.
        homes = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        caddy = contexts.enter_context(Process(words, folder=folder, name="caddy", **homes))
        caddy.says("serving initial configuration")
        yield Site(url, edge, datapool)


def _documented(url: str, edge: Api, datapool: Api) -> str:
    """Return the documented lines for Caddy with the ports of the test."""
    found = re.search(r"^```caddyfile\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{_PAGE} has no lines for Caddy"
    lines = found[1]
    for documented, real in {
        "inspire.example.com {": f"{url} {{",
        "127.0.0.1:8000": edge.url.removeprefix("http://"),
        "127.0.0.1:8001": datapool.url.removeprefix("http://"),
    }.items():
        assert documented in lines
        lines = lines.replace(documented, real)
    return lines


@pytest.fixture(scope="module")
def connector(stack: Stack, site: Site) -> Connector:
    """A connector with the documented base URL: DataPool through Edge."""
    return stack.connector("behind a proxy", url=f"{site.url}/datapool")


def test_each_process_serves_its_own_routes(site: Site) -> None:
    assert get(f"{site.url}/healthz").status_code == 200
    assert get(f"{site.url}/datapool/healthz").status_code == 200
    assert_refused(get(f"{site.url}/api/ingest"), 404, "not_found")
    assert_refused(get(f"{site.url}/datapool/api/ingest"), 405, "method_not_allowed")
    assert_refused(get(f"{site.url}/datapool/other"), 404, "not_found")


def test_data_reaches_datapool_and_is_stored(stack: Stack, connector: Connector) -> None:
    with connector.connection() as connection:
        request_id = assert_accepted(connection.post("/api/ingest", content=batch(item("agent-1", n=1)), headers=JSON))
        answer = connection.get(f"/api/requests/{request_id}", params={"wait": 30})
        assert answer.json()["state"] == "applied"
        for path, body in {
            "/api/ingest/log": b'{"entries":[]}',
            "/api/ingest/heartbeat": b"{}",
            "/api/webhook/agents": b'{"id":2}',
        }.items():
            assert connection.post(path, content=body, headers=JSON).status_code == 202
    assert stack.fields(connector, "agent-1") == {"n": "1"}


@pytest.mark.parametrize("base", ["", "/datapool"])
def test_configuration_is_served_by_edge_at_the_root_and_below_the_base_url(
    site: Site, connector: Connector, base: str
) -> None:
    with connector.connection(site.url + base) as connection:
        answer = connection.get("/api/connector/config")
        assert answer.status_code == 200
        assert answer.json()["dataPoolAddress"] == _ADDRESS
        assert_well_formed(answer)
        configuration = json.dumps({"base": base})
        put = connection.put(
            "/api/connector/config", content=json.dumps({"configuration": configuration}), headers=JSON
        )
        assert put.json()["configuration"] == configuration
        unchanged = connection.get("/api/connector/config", headers={"If-None-Match": put.headers["ETag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["X-Request-Id"]


def test_largest_body_passes_whole_chunked_and_compressed(connector: Connector) -> None:
    largest = of_size(BODY_LIMIT)

    assert_accepted(connector.post(largest))
    assert_accepted(connector.post(in_chunks(largest)))
    assert_accepted(connector.post(gzip.compress(largest, 1), headers=GZIP))


@pytest.mark.parametrize("way", ["in one piece", "in chunks", "compressed"])
def test_too_large_body_gets_the_413_of_the_service(connector: Connector, way: str) -> None:
    body = of_size(BODY_LIMIT + 1)
    compressed = gzip.compress(body, 1) if way == "compressed" else b""
    for _ in range(_TOO_LARGE):
        answer: httpx.Response
        if way == "in one piece":
            answer = connector.post(body)
        elif way == "in chunks":
            answer = connector.post(in_chunks(body))
        else:
            answer = connector.post(compressed, headers=GZIP)
        assert_refused(answer, 413, "body_too_large")


def test_refusals_keep_their_headers(stack: Stack, site: Site, connector: Connector) -> None:
    assert_refused(connector.post(b"[]"), 409, "wrong_type", "$")
    slow = stack.connector("slow behind a proxy", rate=0.01, burst=1, url=connector.url)
    slow.send(item("agent-1"))
    limited = slow.post(b"{}")
    assert_refused(limited, 429, "rate_limited")
    assert int(limited.headers["Retry-After"]) > 1
    assert limited.headers["RateLimit-Remaining"] == "0"
    unauthorized = get(f"{site.url}/datapool/api/requests/req_00000000000000")
    assert_refused(unauthorized, 401, "unauthorized")
    assert unauthorized.headers["WWW-Authenticate"] == "Bearer"


def test_request_that_waits_is_not_cut_off(stack: Stack, connector: Connector) -> None:
    with stack.items_locked():
        request_id = connector.send(item("late"))
        wait_until("the worker is held in its transaction", stack.held_writers)
        with connector.connection() as connection:
            answer = connection.get(f"/api/requests/{request_id}", params={"wait": 1})
    assert answer.json()["state"] == "queued"
