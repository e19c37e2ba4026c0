"""The operations API: tokens, roles, answers and refusals."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from operations.api.operation import PREFIX, Operation
from operations.api.routes import OPERATIONS
from operations.connectors import CreatedConnector
from operations.operators import check_password
from operations.roles import Role
from operations.tokens import Tokens
from shared.credentials.credential import parse_credential
from shared.postgres.connections import Connection
from shared.request_id import position_of_version
from tests.integration.console_tools import Console, dump_of
from tests.integration.ingestctl_tools import insert_item


@pytest.mark.usefixtures("crm")
def test_a_token_is_asked_for_and_checked(console: Console, connection: Connection) -> None:
    tokens = Tokens(connection)
    expired = tokens.create("expired", Role.VIEWER, 0).text
    revoked = tokens.create("revoked", Role.VIEWER, 60).text
    tokens.revoke("revoked")
    good = console.tokens[Role.VIEWER]
    for header in (
        "",
        "Bearer",
        "Bearer ik_x",
        f"Basic {good}",
        f"Bearer {good}x",
        f"Bearer {expired}",
        f"Bearer {revoked}",
        f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
    ):
        answer = console.ask("GET", "/connectors", None, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), header
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["X-Request-Id"] == answer.json()["requestId"]
    assert console.ask("GET", "/connectors", Role.VIEWER).status_code == 200


def test_connectors_are_listed_in_parts_and_shown(console: Console, crm: CreatedConnector) -> None:
    shown = console.ask("GET", f"/connectors/{crm.connector_id}", Role.VIEWER)
    assert shown.json() | {"name": "crm", "keyId": crm.credential.key_id, "generation": 1} == shown.json()
    assert shown.headers["ETag"] == '"1"'
    assert console.json("GET", "/connectors", params={"limit": 1}) == {"items": [shown.json()], "nextCursor": None}
    assert console.json("GET", "/connectors", params={"cursor": 1})["items"] == []


def test_what_does_not_exist_or_is_not_valid_is_refused(console: Console) -> None:
    for path, status, code in (
        ("/connectors/7", 404, "not_found"),
        ("/connectors/seven", 404, "not_found"),
        ("/connectors/9999999999999999999", 400, "invalid_request"),
        ("/connectors?limit=0", 400, "invalid_request"),
        ("/connectors?limits=1", 400, "invalid_request"),
        ("/nothing", 404, "not_found"),
    ):
        answer = console.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert console.ask("PATCH", "/connectors").status_code == 405


def path_of(one: Operation) -> str:
    """Return a path of the operation, of things that exist if they are asked for by number."""
    values = {"name": "viewer", "hook_id": "hk_" + "0" * 32, "request_id": "req_00000000000000"}
    return re.sub(r"{(\w+)}", lambda found: values.get(found[1], "1"), one.path.removeprefix(PREFIX))


@pytest.mark.usefixtures("crm")
def test_a_viewer_changes_nothing_whatever_route_it_tries(console: Console, connection: Connection) -> None:
    before = dump_of(connection)
    for one in OPERATIONS:
        path = path_of(one)
        assert console.ask(one.method, path, None).status_code == 401, one
        answer = console.ask(one.method, path, Role.VIEWER, json={})
        assert (answer.status_code == 403) == (one.needed != Role.VIEWER), answer.text
        assert one.needed == Role.VIEWER or answer.json()["error"]["code"] == "forbidden"
        assert not (one.changes and one.needed == Role.VIEWER)
    assert dump_of(connection) == before


def test_an_operator_manages_neither_operators_nor_tokens(console: Console) -> None:
    for path in ("/operators", "/tokens"):
        assert console.ask("GET", path, Role.OPERATOR).status_code == 403
        body = {"name": "mine", "role": "administrator"}
        assert console.ask("POST", path, Role.OPERATOR, json=body).status_code == 403


def test_a_connector_is_created_changed_rotated_and_deleted(console: Console) -> None:
    answer = console.ask("POST", "/connectors", Role.OPERATOR, json={"name": "crm", "rate": 5})
    made = answer.json()
    assert answer.status_code == 201
    assert parse_credential(made["credential"])
    path = f"/connectors/{made['connectorId']}"

    etag = console.ask("GET", path).headers["ETag"]
    changed = console.ask("PATCH", path, json={"burst": 7, "enabled": False}, headers={"If-Match": etag})
    assert changed.json() | {"burst": 7, "enabled": False, "rate": 5} == changed.json()
    stale = console.ask("PATCH", path, json={"burst": 8}, headers={"If-Match": etag})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "changed_meanwhile")
    new = console.json("POST", f"{path}/credential", headers={"If-Match": changed.headers["ETag"]})
    assert new["keyId"] != made["keyId"]
    both = {"connectorIds": [1, 2], "rate": 9}
    assert console.ask("POST", "/connectors/changes", json=both).status_code == 404
    assert console.json("POST", "/connectors/changes", json={**both, "connectorIds": [1]})["items"][0]["rate"] == 9
    assert len(console.json("POST", "/connectors/credentials", json={"connectorIds": [1]})["items"]) == 1
    assert console.ask("POST", "/connectors", json={"name": "crm"}).status_code == 409

    job = console.json("DELETE", path)
    assert finished(console, job["jobId"])["state"] == "done"
    assert console.ask("GET", path).status_code == 404
    told = [
        (one["action"], one["actor"]) for one in console.json("GET", "/audit", params={"action": "connector"})["items"]
    ]
    assert told[0] == ("connector.delete", "administrator")
    assert told[-1] == ("connector.create", "operator")


@pytest.mark.usefixtures("crm")
def test_a_configuration_has_versions(console: Console) -> None:
    path = "/connectors/1/configuration"
    first = console.ask("PUT", path, json={"configuration": '{"a":1}'}, headers={"If-Match": '"0"'})
    assert (first.json()["managed"], first.headers["ETag"]) == ('{"a":1}', '"1"')
    assert console.ask("DELETE", path, headers={"If-Match": '"0"'}).status_code == 412
    assert console.json("DELETE", path)["managed"] is None
    assert console.json("POST", f"{path}/revert", json={"version": 1})["version"] == 3
    listed = console.json("GET", f"{path}/versions", params={"limit": 2})
    assert [one["version"] for one in listed["items"]] == [3, 2]
    rest = console.json("GET", f"{path}/versions", params={"cursor": listed["nextCursor"]})
    assert [one["version"] for one in rest["items"]] == [1]
    assert console.json("GET", f"{path}/versions/1") == {"version": 1, "managed": '{"a":1}'}
    assert console.ask("PUT", path, json={"configuration": "[]"}).status_code == 400


@pytest.mark.usefixtures("crm")
def test_a_hook_that_no_sender_could_use_is_refused(console: Console) -> None:
    hook = {"scheme": "standard", "stream": "events"}
    for wrong, told in (({"idField": "/a~2"}, "JSON Pointer"), ({"secret": "short"}, "secret")):
        answer = console.ask("POST", "/connectors/1/hooks", json=hook | wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert told in answer.json()["error"]["message"]


def test_items_are_searched_in_parts_and_keep_their_digits(
    console: Console, crm: CreatedConnector, connection: Connection
) -> None:
    for number, name in enumerate(("Ann", "Bob", "Annika", "100%")):
        insert_item(connection, f"agent-{number}", '{"n": 1.10}', name=name)
    path, query = f"/connectors/{crm.connector_id}/items", {"stream": "agents"}
    part = console.ask("GET", path, Role.OPERATOR, params={**query, "limit": 3})
    assert b'"fields":{"n": 1.10}' in part.content
    assert part.json()["nextCursor"] == "agent-2"
    rest = console.json("GET", path, params={**query, "cursor": "agent-2"})
    assert [one["id"] for one in rest["items"]] == ["agent-3"]
    for search, found in (("ann", ["agent-0", "agent-2"]), ("agent-1", ["agent-1"]), ("%", ["agent-3"])):
        told = console.json("GET", path, params={**query, "search": search})["items"]
        assert [one["id"] for one in told] == found


def test_a_viewer_sees_no_values_of_items_and_log_entries(
    console: Console, crm: CreatedConnector, connection: Connection
) -> None:
    insert_item(connection, "agent-1", '{"password": "hunter2"}', name="Ann")
    lane, version = connection.execute(b"SELECT lane, 1 << 20 AS version FROM connectors").fetchall()[0].values()
    connection.execute(
        "INSERT INTO connector_logs (connector_id, version, index, logged_at, level, message, context)"
        """ VALUES (1, %s, 0, now(), 'info', 'Ann logged in', '{"password": "hunter2"}')""",
        (version,),
    )
    receipt = "INSERT INTO receipts (connector_id, lane, version, kind, received) VALUES (1, %s, %s, 'log', 1)"
    connection.execute(receipt, (lane, version))
    path, request_id = f"/connectors/{crm.connector_id}", position_of_version(lane, version).request_id
    for asked in (f"{path}/items?stream=agents", f"{path}/logs", f"/requests/{request_id}"):
        assert "hunter2" in console.ask("GET", asked, Role.OPERATOR).text
        hidden = console.ask("GET", asked, Role.VIEWER).text
        assert "hunter2" not in hidden
        assert "Ann" in hidden


def test_operators_and_tokens_are_managed(console: Console, connection: Connection) -> None:
    made = console.json("POST", "/operators", json={"name": "anna", "role": "viewer"})
    assert check_password(connection, "anna", made["oneTimePassword"])
    assert console.json("PATCH", "/operators/anna", json={"role": "operator"})["role"] == "operator"
    again = console.json("POST", "/operators/anna/password")
    assert not check_password(connection, "anna", made["oneTimePassword"])
    assert check_password(connection, "anna", again["oneTimePassword"])
    assert console.ask("DELETE", "/operators/anna").status_code == 204
    assert console.json("GET", "/operators")["items"] == []
    token = console.json("POST", "/tokens", json={"name": "new", "role": "viewer", "expiresSeconds": 60})
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert console.ask("GET", "/connectors", None, headers=headers).status_code == 200
    assert console.ask("DELETE", "/tokens/new").status_code == 204
    assert console.ask("GET", "/connectors", None, headers=headers).status_code == 401
    assert token["token"] not in console.ask("GET", "/tokens").text


def test_traffic_is_listed_in_parts(console: Console, connection: Connection) -> None:
    counted = b"""INSERT INTO traffic_minutes (connector_id, version, code, submissions, items, bytes, refused, applied,
                  superseded, removed, dead, lag_ms)
                  SELECT connector, (extract(epoch FROM now())::bigint - 60 * minute) * 1000 << 20, '', 1, 1, 1, 0, 1,
                  0, 0, 0, 5 FROM generate_series(1, 2) AS connector, generate_series(1, 2) AS minute"""
    connection.execute(counted)

    for query in ({"step": "minute"}, {"step": "total"}, {"step": "minute", "perConnector": "false"}):
        whole = console.json("GET", "/traffic", params=query)
        first = console.json("GET", "/traffic", params={**query, "limit": 1})
        rest = console.json("GET", "/traffic", params={**query, "cursor": first["nextCursor"]})

        assert whole == {"items": [*first["items"], *rest["items"]], "nextCursor": None}
        assert len(first["items"]) == 1
    assert console.ask("GET", "/traffic", params={"cursor": "1"}).status_code == 400


def test_the_state_of_the_engines_is_told_and_what_is_wrong_comes_first(console: Console) -> None:
    console.json("POST", "/connectors", json={"name": "crm"})
    assert console.json("GET", "/engines")["totals"]["lanes"] == 4
    told = console.json("GET", "/troubles")["items"]
    assert [one["kind"] for one in told][:2] == ["no_worker", "no_sweeper"]
    assert all(one["urgent"] for one in told[:2])


def finished(console: Console, job_id: int) -> Any:
    """Wait for a job's end."""
    deadline = time.monotonic() + 30
    while (job := console.json("GET", f"/jobs/{job_id}"))["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job
