"""`ingestctl hook`: secrets are shown once and kept encrypted; Redis has each change before the command returns."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from operations.connectors import Connectors
from shared.credentials.sync import load_lanes
from shared.hooks.schemes import SCHEMES
from shared.hooks.sealing import Keyring, SealError
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.ingestctl_tools import AWAY_REDIS, RFC3339, Ingestctl, bare_environ

KEY = os.urandom(32)
UNKNOWN = f"hk_{'0' * 32}"


@pytest.fixture
def ingestctl(settings: Settings) -> Ingestctl:
    """Runs `ingestctl` with a key on an installation."""
    engines = {"DATABASE_URL": str(settings.database_url), "REDIS_URL": str(settings.redis_url)}
    return Ingestctl({**bare_environ(), **engines, "SECRETS_KEY": base64.b64encode(KEY).decode()})


@pytest.fixture
def hooks(redis: Redis) -> Callable[[], dict[str, Any]]:
    """What Redis holds of each hook that it accepts."""

    def read() -> dict[str, Any]:
        names: list[bytes] = list(redis.scan_iter("*:credential:hk_*"))
        return {
            name.decode().rpartition(":")[2]: json.loads(redis.hget(name.decode(), "hook") or b"") for name in names
        }

    return read


def create(ingestctl: Ingestctl, *words: str) -> Any:
    return ingestctl.json("hook", "create", "1", "--scheme", "github", "--stream", "s", *words)


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_created_hook_is_in_redis_with_a_secret_that_only_the_key_opens(
    ingestctl: Ingestctl, hooks: Callable[[], dict[str, Any]], scheme: str
) -> None:
    words = ("--scheme", scheme, "--stream", "events", "--id-field", "a b", "--tolerance", "60")
    made = ingestctl.json("hook", "create", "1", *words)

    assert list(made) == ["hookId", "connectorId", "path", "secret"]
    assert made["path"] == f"/api/hooks/{made['hookId']}"
    held = hooks()[made["hookId"]]
    assert (held["scheme"], held["stream"], held["idField"], held["tolerance"]) == (scheme, "events", "a b", 60)
    sealed = base64.b64decode(held["secrets"][0]["sealed"])
    assert Keyring([os.urandom(32), KEY]).open(sealed, made["hookId"]) == made["secret"]
    for keyring, hook_id in ((Keyring([KEY]), UNKNOWN), (Keyring([os.urandom(32)]), made["hookId"])):
        with pytest.raises(SealError):
            keyring.open(sealed, hook_id)


@pytest.mark.usefixtures("crm")
def test_a_given_secret_is_used_and_no_secret_is_shown_again(ingestctl: Ingestctl, connection: Connection) -> None:
    secret = "It's a Secret to Everybody"
    made = create(ingestctl, "--secret", secret)
    assert made["secret"] == secret

    shown = ingestctl.json("hook", "show", made["hookId"])
    assert RFC3339.fullmatch(shown.pop("createdAt"))
    assert RFC3339.fullmatch(shown["secrets"][0].pop("createdAt"))
    assert shown == {
        "hookId": made["hookId"],
        "connectorId": 1,
        "path": made["path"],
        "scheme": "github",
        "stream": "s",
        "idField": "id",
        "toleranceSeconds": 300,
        "enabled": True,
        "secrets": [{"expiresAt": None}],
    }
    assert [hook["hookId"] for hook in ingestctl.json("hook", "list")["hooks"]] == [made["hookId"]]
    assert ingestctl.json("hook", "list", "2")["hooks"] == []
    dumped = str(connection.execute("SELECT hooks, hook_secrets FROM hooks, hook_secrets").fetchall())
    told = ingestctl.says("hook", "list") + ingestctl.says("hook", "show", made["hookId"]) + dumped
    assert secret not in told
    assert secret.encode().hex() not in told


@pytest.mark.usefixtures("crm")
def test_create_prints_the_path_and_that_the_secret_is_shown_only_now(ingestctl: Ingestctl) -> None:
    told = ingestctl.says("hook", "create", "1", "--scheme", "standard", "--stream", "s")

    assert re.search(r"^/api/hooks/hk_[0-9a-f]{32}$", told, re.MULTILINE)
    assert "shown only now" in told
    assert SCHEMES["standard"].key_of(told.splitlines()[-1])


@pytest.mark.usefixtures("crm")
def test_a_rotation_keeps_the_old_secret_for_a_while_or_not_at_all(
    ingestctl: Ingestctl, hooks: Callable[[], dict[str, Any]]
) -> None:
    made = create(ingestctl)
    hook_id = made["hookId"]

    rotated = ingestctl.json("hook", "rotate", hook_id, "--keep-old", "2h")
    beside = hooks()[hook_id]["secrets"]
    assert rotated["secret"] != made["secret"]
    assert sorted(secret["expiresAt"] is None for secret in beside) == [False, True]

    alone = ingestctl.json("hook", "rotate", hook_id, "--keep-old", "0", "--secret", "given")
    (only,) = hooks()[hook_id]["secrets"]
    assert alone["secret"] == "given"
    assert Keyring([KEY]).open(base64.b64decode(only["sealed"]), hook_id) == "given"

    for _ in range(3):
        ingestctl.says("hook", "rotate", hook_id)
    assert "4 secrets that are still valid" in ingestctl.fails("hook", "rotate", hook_id)
    assert len(hooks()[hook_id]["secrets"]) == 4


def test_hooks_follow_their_own_changes_and_those_of_their_connector(
    ingestctl: Ingestctl, hooks: Callable[[], dict[str, Any]], connection: Connection, redis: Redis
) -> None:
    connectors = Connectors(connection, redis)
    connectors.create("crm")
    first, second = create(ingestctl)["hookId"], create(ingestctl)["hookId"]

    assert ingestctl.json("hook", "disable", first)["enabled"] is False
    assert hooks().keys() == {second}
    connectors.disable(1)
    assert hooks().keys() == set()
    assert ingestctl.json("hook", "enable", first)["enabled"] is True
    assert hooks().keys() == set()
    connectors.enable(1)
    assert hooks().keys() == {first, second}
    rotated = connectors.rotate(1)
    assert {hook["bucket"] for hook in hooks().values()} == {rotated.key_id}
    assert ingestctl.json("hook", "delete", second) == {"hookId": second, "deleted": True}
    assert hooks().keys() == {first}
    assert ingestctl.fails("hook", "show", second) == f"There is no hook {second}."


def test_a_redis_that_lost_or_kept_too_much_gets_the_hooks_of_postgres(
    ingestctl: Ingestctl, hooks: Callable[[], dict[str, Any]], connection: Connection, redis: Redis
) -> None:
    Connectors(connection, redis).create("crm")
    kept, deleted = create(ingestctl)["hookId"], create(ingestctl)["hookId"]
    load_lanes(connection, redis, range(4))
    before = {key: redis.dump(key) for key in redis.keys("*")}
    ingestctl.says("hook", "delete", deleted)
    rotated = hooks()[kept]

    redis.flushall()
    assert load_lanes(connection, redis, range(4)) == 0
    assert hooks() == {kept: rotated}
    redis.flushall()
    for key, value in before.items():
        redis.restore(key, 0, value)  # type: ignore[arg-type] # there is a value for each of these keys
    assert hooks().keys() == {kept, deleted}
    assert load_lanes(connection, redis, range(4)) == 1
    assert hooks() == {kept: rotated}
    # Postgres is restored: the hook is there again, and so is the generation from before its deletion.
    connection.execute("UPDATE connectors SET generation = 1")
    connection.execute("UPDATE hooks SET stream = 'restored'")
    assert load_lanes(connection, redis, range(4)) == 1
    assert hooks()[kept]["stream"] == "restored"


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize(
    "words",
    [
        ("--scheme", "gitlab"),
        ("--stream", "a b"),
        ("--id-field", ""),
        ("--id-field", "/~2"),
        ("--tolerance", "0"),
        ("--secret", ""),
        ("--scheme", "standard", "--secret", "whsec_short"),
    ],
)
def test_create_refuses_what_no_delivery_could_pass(
    ingestctl: Ingestctl, connection: Connection, words: tuple[str, ...]
) -> None:
    assert words[-2] in ingestctl.refuses("hook", "create", "1", "--scheme", "hmac", "--stream", "s", *words)
    assert connection.execute("SELECT 1 FROM hooks").fetchall() == []


@pytest.mark.usefixtures("crm")
def test_without_a_key_the_command_says_what_to_set(ingestctl: Ingestctl) -> None:
    hook_id = create(ingestctl)["hookId"]
    for words in (("create", "1", "--scheme", "github", "--stream", "s"), ("rotate", hook_id)):
        assert ingestctl.fails("hook", *words, SECRETS_KEY="").startswith("Hooks are off: set SECRETS_KEY to 32 random")
    assert ingestctl.json("hook", "disable", hook_id, SECRETS_KEY="")["enabled"] is False


def test_a_malformed_key_is_one_sentence(ingestctl: Ingestctl) -> None:
    for malformed in ("x", base64.b64encode(bytes(31)).decode(), base64.b64encode(KEY).decode() + ","):
        told = ingestctl.fails("hook", "list", SECRETS_KEY=malformed)
        assert told.startswith("The setting SECRETS_KEY must be 32 bytes in base64")
        assert (
            malformed not in told.removeprefix("The setting SECRETS_KEY must be 32 bytes in base64")[:40]
            or malformed == "x"
        )


@pytest.mark.usefixtures("crm")
def test_unknown_hooks_and_connectors_and_an_away_redis_are_one_sentence(ingestctl: Ingestctl) -> None:
    hook_id = create(ingestctl)["hookId"]
    for command in ("show", "rotate", "disable", "enable", "delete"):
        assert ingestctl.fails("hook", command, UNKNOWN) == f"There is no hook {UNKNOWN}."
    assert "HOOK_ID" in ingestctl.refuses("hook", "show", "7")
    told = ingestctl.fails("hook", "create", "9", "--scheme", "github", "--stream", "s")
    assert told == "There is no connector 9."
    assert ingestctl.fails("hook", "delete", hook_id, REDIS_URL=AWAY_REDIS).endswith("Nothing was changed.")
