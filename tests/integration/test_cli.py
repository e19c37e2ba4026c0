"""`ingestctl` as a process of its own: migrations, connectors, credentials, and expected errors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from operations.connectors import Connectors, select_connectors
from operations.local.data_dir import announce, claim
from shared.credentials.credential import parse_credential
from shared.credentials.sync import load_lanes
from shared.postgres.connections import Connection
from shared.process.endpoints import Endpoints
from shared.process.settings import Settings
from tests.integration.ingestctl_tools import AWAY_POSTGRES, AWAY_REDIS, RFC3339, Ingestctl, bare_environ


@pytest.fixture
def stored_credentials(redis: Redis) -> Callable[[], dict[str, str]]:
    """Key id and digest of every credential that Redis accepts."""

    def read() -> dict[str, str]:
        names: list[bytes] = list(redis.scan_iter("*:credential:*"))
        found: dict[str, str] = {}
        for name in names:
            digest: Any = redis.hget(name.decode(), "digest")
            found[name.decode().rpartition(":")[2]] = digest.decode()
        return found

    return read


# migrate


def test_migrate_reports_what_it_applied_and_the_second_time_that_nothing_was_missing(unmigrated: Ingestctl) -> None:
    assert "Applied 0001_lanes_connectors_items.\n" in unmigrated.says("migrate", REDIS_URL=AWAY_REDIS)
    assert unmigrated.says("migrate", REDIS_URL=AWAY_REDIS) == "Nothing was missing.\n"


def test_migrate_chooses_16_lanes_and_keeps_them(unmigrated: Ingestctl) -> None:
    unmigrated.says("migrate")
    code, out, err = unmigrated.run("migrate", "--lanes", "32")
    assert (code, out) == (0, "Nothing was missing.\n")
    assert "16 lanes" in err
    assert unmigrated.json("status")["totals"]["lanes"] == 16


def test_migrate_takes_the_number_of_lanes_the_first_time(unmigrated: Ingestctl) -> None:
    unmigrated.says("migrate", "--lanes", "3")
    assert unmigrated.json("status")["totals"]["lanes"] == 3


@pytest.mark.parametrize("lanes", ["0", "1024", "many"])
def test_migrate_refuses_a_number_of_lanes_out_of_bounds(unmigrated: Ingestctl, lanes: str) -> None:
    assert "--lanes" in unmigrated.refuses("migrate", "--lanes", lanes)


def test_two_migrations_at_once_both_succeed_and_one_applies(unmigrated: Ingestctl) -> None:
    both = [unmigrated.start("migrate") for _ in range(2)]
    told = sorted(process.communicate(timeout=60) for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert [err for _, err in told] == ["", ""]
    assert told[0][0].startswith("Applied")
    assert told[1][0] == "Nothing was missing.\n"


def test_migrate_reports_that_it_waits_for_postgres_and_gives_up_in_time(unmigrated: Ingestctl) -> None:
    started = time.monotonic()
    code, out, err = unmigrated.run("migrate", "--wait", "1", DATABASE_URL=AWAY_POSTGRES)
    assert (code, out) == (1, "")
    assert time.monotonic() - started < 60
    waiting, gave_up = err.splitlines()
    assert "Waiting for it, up to 1 s." in waiting
    assert gave_up.startswith("Postgres can't be used now: ")


# connector and credential


def test_a_created_connector_has_a_credential_that_redis_accepts(
    ingestctl: Ingestctl, stored_credentials: Callable[[], dict[str, str]]
) -> None:
    created = ingestctl.json("connector", "create", "  crm ", "--rate", "2.5", "--burst", "7")
    assert list(created) == ["connectorId", "name", "credential", "keyId", "rate", "burst"]
    assert (created["connectorId"], created["name"], created["rate"], created["burst"]) == (1, "crm", 2.5, 7)
    presented = parse_credential(created["credential"])
    assert presented
    assert stored_credentials() == {presented.key_id: presented.digest}
    assert created["keyId"] == presented.key_id


def test_create_warns_that_the_credential_is_shown_only_now(ingestctl: Ingestctl) -> None:
    told = ingestctl.says("connector", "create", "crm")
    assert "shown only now" in told
    assert parse_credential(told.splitlines()[-1])


@pytest.mark.parametrize("words", [("a\nb",), ("crm", "--rate", "nan"), ("crm", "--burst", "0")])
def test_create_refuses_invalid_names_rates_and_bursts(
    ingestctl: Ingestctl, connection: Connection, words: tuple[str, ...]
) -> None:
    ingestctl.refuses("connector", "create", *words)
    assert select_connectors(connection) == []


@pytest.mark.usefixtures("crm")
def test_a_name_that_is_taken_is_refused(ingestctl: Ingestctl) -> None:
    assert ingestctl.fails("connector", "create", "crm") == "A connector named crm exists already."


def test_list_and_show_agree_and_never_show_the_credential(ingestctl: Ingestctl, connection: Connection) -> None:
    created = [ingestctl.json("connector", "create", name) for name in ("crm", "erp")]
    connection.execute("INSERT INTO connector_liveness VALUES (2, '2026-01-02T03:04:05.678+00')")
    crm, erp = ingestctl.json("connector", "list")["connectors"]
    assert erp == ingestctl.json("connector", "show", "2")
    assert list(erp) == [
        *("connectorId", "name", "enabled", "rate", "burst", "lane", "keyId"),
        *("createdAt", "keyCreatedAt", "lastSeenAt", "generation"),
    ]
    assert RFC3339.fullmatch(erp["createdAt"])
    assert (crm["lastSeenAt"], erp["lastSeenAt"]) == (None, "2026-01-02T03:04:05.678Z")
    assert crm["lane"] != erp["lane"]
    told = ingestctl.says("connector", "list") + ingestctl.says("connector", "show", "2") + json.dumps([crm, erp])
    assert "crm" in told
    assert "never" in told
    assert not any(connector["credential"][16:] in told for connector in created)


@pytest.mark.usefixtures("crm")
def test_reading_needs_no_redis(ingestctl: Ingestctl) -> None:
    assert ingestctl.json("connector", "list", REDIS_URL=AWAY_REDIS)["connectors"]
    assert ingestctl.json("connector", "show", "1", REDIS_URL=AWAY_REDIS)["name"] == "crm"
    assert ingestctl.json("items", "1", "agents", REDIS_URL=AWAY_REDIS) == {"items": []}


def test_a_rotation_replaces_the_credential_in_redis(
    ingestctl: Ingestctl, stored_credentials: Callable[[], dict[str, str]]
) -> None:
    old = ingestctl.json("connector", "create", "crm")
    rotated = ingestctl.json("credential", "rotate", "1")
    assert list(rotated) == ["connectorId", "keyId", "credential"]
    assert rotated["keyId"] != old["keyId"]
    presented = parse_credential(rotated["credential"])
    assert presented
    assert stored_credentials() == {presented.key_id: presented.digest}
    assert ingestctl.json("connector", "show", "1")["keyId"] == rotated["keyId"]


@pytest.mark.usefixtures("crm")
def test_rotate_warns_that_the_credential_is_shown_only_now(ingestctl: Ingestctl) -> None:
    told = ingestctl.says("credential", "rotate", "1")
    assert "shown only now" in told
    assert parse_credential(told.splitlines()[-1])


def test_disabling_revokes_the_credential_and_enabling_restores_it(
    ingestctl: Ingestctl, stored_credentials: Callable[[], dict[str, str]]
) -> None:
    created = ingestctl.json("connector", "create", "crm")
    before = stored_credentials()
    assert ingestctl.json("connector", "disable", "1")["enabled"] is False
    assert stored_credentials() == {}
    assert ingestctl.json("connector", "enable", "1")["enabled"] is True
    assert stored_credentials() == before
    assert list(before) == [created["keyId"]]


@pytest.mark.usefixtures("crm")
def test_a_disabled_connector_that_is_rotated_is_refused_until_it_is_enabled(
    ingestctl: Ingestctl, stored_credentials: Callable[[], dict[str, str]]
) -> None:
    ingestctl.says("connector", "disable", "1")
    rotated = ingestctl.json("credential", "rotate", "1")
    assert stored_credentials() == {}
    ingestctl.says("connector", "enable", "1")
    assert list(stored_credentials()) == [rotated["keyId"]]


@pytest.mark.parametrize(
    "words",
    [
        ("connector", "create", "erp"),
        ("connector", "disable", "1"),
        ("connector", "enable", "1"),
        ("credential", "rotate", "1"),
    ],
)
@pytest.mark.usefixtures("crm")
def test_without_redis_nothing_is_changed(ingestctl: Ingestctl, connection: Connection, words: tuple[str, ...]) -> None:
    before = select_connectors(connection)
    told = ingestctl.fails(*words, REDIS_URL=AWAY_REDIS)
    assert told.startswith("Redis can't be used now: ")
    assert told.endswith("Nothing was changed.")
    assert select_connectors(connection) == before


def test_changes_on_a_redis_that_was_never_loaded_hold_once_it_is(
    ingestctl: Ingestctl, redis: Redis, connection: Connection, stored_credentials: Callable[[], dict[str, str]]
) -> None:
    for name in ("crm", "erp"):
        Connectors(connection, redis).create(name)
    redis.flushall()
    rotated = ingestctl.json("credential", "rotate", "1")
    ingestctl.says("connector", "disable", "2")
    load_lanes(connection, redis, range(4))
    assert list(stored_credentials()) == [rotated["keyId"]]


@pytest.mark.parametrize(
    "words",
    [("connector", "show"), ("connector", "disable"), ("connector", "enable"), ("credential", "rotate"), ("items",)],
)
def test_an_unknown_connector_is_one_sentence(ingestctl: Ingestctl, words: tuple[str, ...]) -> None:
    stream = ("agents",) if words == ("items",) else ()
    assert ingestctl.fails(*words, "7", *stream) == "There is no connector 7."


@pytest.mark.parametrize("wrong", ["0", "99999999999999999999"])
def test_an_invalid_connector_id_is_wrong_usage(ingestctl: Ingestctl, wrong: str) -> None:
    assert "CONNECTOR_ID" in ingestctl.refuses("connector", "show", wrong)


# engines and expected errors


def test_the_engines_of_make_run_are_found_in_its_folder(settings: Settings, tmp_path: Path) -> None:
    in_folder = Ingestctl({**bare_environ(), "DATA_DIR": str(tmp_path / "data")})
    with claim(tmp_path / "data") as folder:
        assert settings.database_url
        assert settings.redis_url
        announce(folder, Endpoints(settings.database_url, settings.redis_url, "http://127.0.0.1:8000", os.getpid()))
        assert in_folder.json("connector", "create", "crm")["connectorId"] == 1
    assert in_folder.fails("connector", "list").startswith("No engines run in ")


@pytest.mark.parametrize(
    "words",
    [("connector", "list"), ("connector", "create", "crm"), ("credential", "rotate", "1"), ("items", "1", "agents")],
)
def test_a_database_that_was_not_migrated_is_one_sentence(unmigrated: Ingestctl, words: tuple[str, ...]) -> None:
    assert unmigrated.fails(*words) == "The database is not migrated: run `ingestctl migrate`."


@pytest.mark.parametrize("words", [("connector", "list"), ("credential", "rotate", "1"), ("items", "1", "agents")])
def test_an_unavailable_postgres_is_one_sentence(ingestctl: Ingestctl, words: tuple[str, ...]) -> None:
    assert ingestctl.fails(*words, DATABASE_URL=AWAY_POSTGRES).startswith("Postgres can't be used now: ")


def test_an_invalid_setting_is_one_sentence(ingestctl: Ingestctl) -> None:
    assert (
        ingestctl.fails("connector", "list", PORT="http")
        == "The setting PORT must be a whole number between 1 and 65535."
    )
    assert "DATABASE_URL" in ingestctl.fails("connector", "list", DATABASE_URL="mysql://x")


def test_a_password_in_an_address_is_never_shown(ingestctl: Ingestctl) -> None:
    for address in ("postgresql://u:hunter2%zz@h/x", "postgresql://u:hunter2@127.0.0.1:1/x"):
        assert "hunter2" not in ingestctl.fails("connector", "list", DATABASE_URL=address)
    for address in ("redis://u:hunter2@h:port/0", "redis://u:hunter2@127.0.0.1:1/0"):
        assert "hunter2" not in ingestctl.fails("credential", "rotate", "1", REDIS_URL=address)


def test_help_and_version_need_no_engines() -> None:
    bare = Ingestctl({**bare_environ(), "DATA_DIR": "/nonexistent"})
    assert bare.says("--version").startswith("ingestctl")
    for words in ((), ("connector", "create"), ("credential", "rotate"), ("items",), ("status",), ("migrate",)):
        told = bare.says(*words, "--help")
        assert "Usage: ingestctl" in told
        assert not words or f"ingestctl {' '.join(words)}" in told.partition("Examples:")[2]


def test_text_that_is_not_utf_8_is_wrong_usage(ingestctl: Ingestctl) -> None:
    assert "UTF-8" in ingestctl.refuses("items", "1", "\udcff")
    assert "UTF-8" in ingestctl.refuses("items", "1", "agents", "--id", "\udcff")


def test_a_result_that_cant_be_written_is_one_sentence(ingestctl: Ingestctl) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a file that is always full")
    with Path("/dev/full").open("w") as full, ingestctl.start("connector", "list", stdout=full) as process:
        assert process.stderr
        assert process.stderr.read() == "The result can't be written: No space left on device.\n"
        assert process.wait(timeout=30) == 1
