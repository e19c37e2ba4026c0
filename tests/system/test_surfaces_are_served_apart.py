"""`SURFACES` serves connector management and data submission together or apart."""

from __future__ import annotations

import pytest

from tests.support.client import JSON, Connector, assert_refused, assert_well_formed
from tests.support.processes import refuses_to_start
from tests.support.raw_http import Answer, RawConnection
from tests.support.stack import Stack

_DATA = [
    ("POST", "/api/ingest", b'{"stream":"agents","items":[]}', 202),
    ("POST", "/api/ingest/log", b'{"entries":[]}', 202),
    ("POST", "/api/ingest/heartbeat", b"{}", 202),
    ("POST", "/api/webhook/agents", b'{"id":1}', 202),
    ("POST", "/api/hooks/unknown", b'{"id":1}', 401),
    ("GET", "/api/requests/REQUEST_ID", b"", 200),
]
_MANAGEMENT = [
    ("GET", "/api/connector/config", b"", 200),
    ("PUT", "/api/connector/config", b'{"configuration":"{}"}', 200),
]
_ROUTES = {"data": _DATA, "management": _MANAGEMENT}


@pytest.fixture(scope="module")
def connector(stack: Stack) -> Connector:
    """A connector of this module."""
    return stack.connector("sees one surface only")


@pytest.mark.parametrize(
    ("surfaces", "served"),
    [
        ("data", {"data"}),
        ("management", {"management"}),
        ("data, management", {"data", "management"}),
        ("", {"data", "management"}),
    ],
)
def test_routes_of_a_surface_that_is_off_are_not_found(
    stack: Stack, connector: Connector, surfaces: str, served: set[str]
) -> None:
    request_id = connector.post(b"{}", path="/api/ingest/heartbeat").json()["requestId"]
    with stack.api(SURFACES=surfaces) as api, RawConnection(api.url) as connection:
        for base in ("", "/datapool"):
            for surface, routes in _ROUTES.items():
                for method, path, body, status in routes:
                    where = f"{base}{path.replace('REQUEST_ID', request_id)}"
                    answer = connection.send(method, where, body=body, headers={**connector.bearer, **JSON})
                    if surface in served:
                        assert answer.status == status, (method, where, answer)
                    else:
                        _assert_not_found(answer)
            for path in ("/healthz", "/healthz/pipeline", "/readyz"):
                assert connection.send("GET", base + path).status == 200


def _assert_not_found(answer: Answer) -> None:
    assert answer.status == 404
    assert answer.document["error"]["code"] == "not_found"
    assert answer.headers["x-request-id"] == answer.document["requestId"]


def test_unknown_surface_is_refused_at_the_start(stack: Stack) -> None:
    sentence = refuses_to_start(stack.starting_api(SURFACES="data,legacy"))

    assert "SURFACES" in sentence


def test_legacy_routes_are_not_found(connector: Connector) -> None:
    with connector.connection() as connection:
        for path in ("/api/v5/connector", "/api/v6/connector/data", "/api/connector", "/optymyse/api", "/legacy"):
            for method in ("GET", "POST"):
                answer = connection.request(method, path)
                assert_refused(answer, 404, "not_found")
                assert_well_formed(answer)
