"""Each change of an operator is recorded with its actor, before and after; what is stored holds no usable secret."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any

import pytest
from redis import Redis

from operations.audit import Actor, recorded, select_audit
from operations.configurations import Configurations
from operations.connectors import Connectors, CreatedConnector
from operations.hooks import Hooks, NewHook
from operations.operators import Operators, check_password
from operations.roles import Role
from operations.tokens import Tokens, check_token
from shared.hooks.sealing import Keyring
from shared.postgres.connections import Connection
from tests.integration.console_tools import dump_of
from tests.integration.ingestctl_tools import Ingestctl

ME = f"{getpass.getuser()}@{socket.gethostname()}"


def last(connection: Connection) -> tuple[str, str, Any, Any]:
    row = select_audit(connection, limit=1)[0]
    assert (row["actor_kind"], row["actor"]) == ("command", ME)
    return row["action"], row["subject"], row["before"], row["after"]


def test_changes_of_connectors_are_recorded(connectors: Connectors) -> None:
    made = connectors.create("crm")
    action, subject, before, after = last(connectors.connection)
    assert (action, subject, before) == ("connector.create", f"connector {made.connector_id}", None)
    assert after == {"name": "crm", "enabled": True, "rate": 100, "burst": 200, "keyId": made.credential.key_id}

    connectors.change([made.connector_id], rate=5.0)
    assert last(connectors.connection) == ("connector.set", subject, {"rate": 100}, {"rate": 5})

    new = connectors.rotate(made.connector_id)
    keys = {"keyId": made.credential.key_id}, {"keyId": new.key_id}
    assert last(connectors.connection) == ("connector.rotate", subject, *keys)

    connectors.disable(made.connector_id)
    assert last(connectors.connection) == ("connector.disable", subject, {"enabled": True}, {"enabled": False})


def test_what_changes_nothing_is_not_recorded(connectors: Connectors) -> None:
    made = connectors.create("crm")
    connectors.enable(made.connector_id)
    assert last(connectors.connection)[0] == "connector.create"


def test_a_change_that_fails_leaves_neither_a_change_nor_a_record(connection: Connection) -> None:
    operators = Operators(connection)
    operators.create("anna", Role.VIEWER)
    before = select_audit(connection)
    with (
        pytest.raises(ZeroDivisionError),
        connection.transaction(),
        recorded(connection, Actor("token", "t"), "operator.role", dict),
    ):
        raise ZeroDivisionError
    assert select_audit(connection) == before
    with pytest.raises(RuntimeError), recorded(connection, Actor("token", "t"), "operator.role", dict):
        pass


def test_a_stolen_dump_holds_no_usable_secret(crm: CreatedConnector, connection: Connection, redis: Redis) -> None:
    password = Operators(connection).create("anna", Role.ADMINISTRATOR)
    token = Tokens(connection).create("deploy", Role.OPERATOR, 60).text
    Configurations(connection).set_managed(crm.connector_id, '{"password":"hunter2"}')
    connectors = Connectors(connection, redis)
    rotated = connectors.rotate(crm.connector_id).text
    keyring = Keyring([os.urandom(32)])
    _, signing = Hooks(connectors, keyring).create(crm.connector_id, NewHook("github", "s", "id", 300))
    dump = dump_of(connection)
    assert "anna" in dump
    for secret in (password, token, crm.credential.text, rotated, signing):
        bare = secret.split("_", 2)[2] if secret.startswith(("ik_", "it_")) else secret
        assert bare not in dump
        assert bare.encode().hex() not in dump
    assert "hunter2" not in str(select_audit(connection))
    # What is stored in place of a secret opens nothing.
    query = b"SELECT password, encode(digest, 'hex') AS digest FROM operators, tokens"
    stored = connection.execute(query).fetchall()[0]
    assert check_password(connection, "anna", stored["password"]) is None
    assert check_token(connection, f"{token[:16]}{stored['digest'][:40]}") is None
    assert check_password(connection, "anna", password)
    assert check_token(connection, token)


def test_a_one_time_password_ends_with_the_first_own_one(connection: Connection) -> None:
    operators = Operators(connection)
    password = operators.create("anna", Role.OPERATOR)
    found = check_password(connection, "anna", password)
    assert found
    assert (found.name, found.role, found.must_change) == ("anna", Role.OPERATOR, True)
    operators.change_password("anna", "correct horse battery")
    assert check_password(connection, "anna", password) is None
    chosen = check_password(connection, "anna", "correct horse battery")
    assert chosen
    assert not chosen.must_change
    connection.execute(b"UPDATE operators SET one_time_until = now() - interval '1 second'")
    assert check_password(connection, "anna", "correct horse battery") is None
    assert check_password(connection, "nobody", password) is None


@pytest.mark.usefixtures("crm")
def test_commands_for_operators_tokens_and_the_audit(ingestctl: Ingestctl) -> None:
    one_time = ingestctl.json("operator", "create", "anna", "--role", "administrator")
    assert list(one_time) == ["name", "oneTimePassword"]
    assert ingestctl.fails("operator", "create", "anna", "--role", "viewer") == "An operator named anna exists already."
    ingestctl.refuses("operator", "create", "-x", "--role", "viewer")
    ingestctl.says("operator", "role", "anna", "--role", "viewer")
    assert ingestctl.json("operator", "list")["operators"][0]["role"] == "viewer"
    made = ingestctl.json("token", "create", "deploy", "--role", "operator", "--expires", "90d")
    assert list(made) == ["name", "tokenId", "role", "token", "expiresAt"]
    listed = ingestctl.says("token", "list")
    assert made["tokenId"] in listed
    assert made["token"] not in listed
    assert ingestctl.json("token", "revoke", "deploy") == {"name": "deploy", "revoked": True}
    assert ingestctl.fails("token", "revoke", "deploy") == "There is no token deploy."
    ingestctl.says("operator", "revoke", "anna")
    told = ingestctl.json("audit", "--since", "1h")["changes"]
    assert [change["action"] for change in told] == [
        "operator.revoke",
        "token.revoke",
        "token.create",
        "operator.role",
        "operator.create",
        "connector.create",
    ]
    assert {change["actor"] for change in told} == {ME}
    assert "operator anna" in ingestctl.says("audit", "--action", "operator", "--limit", "1")
