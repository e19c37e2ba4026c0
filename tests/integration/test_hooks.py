"""Deliveries to hooks: what is refused and how, what identifies a delivery, what a stranger can take."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from operations.hooks import Hooks
from shared.credentials.sync import load_lanes
from shared.hooks.sealing import Keyring
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from shared.redis.names import lane_keys
from tests.integration.hook_tools import HookApi, Request, hook_api
from tests.support.client import GZIP, JSON, MB, assert_accepted, assert_refused, batch, item
from tests.support.signing import SCHEMES, Hook, event


@pytest.fixture
def api(settings: Settings, connection: Connection, redis: Redis) -> Iterator[HookApi]:
    with hook_api(settings, connection, redis) as api:
        yield api


@pytest.fixture
def bearer(api: HookApi) -> dict[str, str]:
    """The credential of connector 1."""
    made = api.connectors.create("crm", rate=0.001, burst=100)
    return {**JSON, "Authorization": f"Bearer {made.credential.text}"}


def test_whatever_is_wrong_gets_the_same_401_and_costs_nothing(api: HookApi, bearer: dict[str, str]) -> None:
    for number, scheme in enumerate(SCHEMES):
        _, hook = api.new_hook(scheme)
        wrong = _wrong_in_every_way(api, hook, bearer)
        for what, answer in zip(wrong, api.post_each(wrong.values()), strict=True):
            assert assert_refused(answer, 401, "unauthorized").keys() == {"code", "message"}, (scheme, what)
            seen = answer.headers.keys()
            assert seen == {"content-type", "content-length", "www-authenticate", "x-request-id"}, (scheme, what)
        assert api.post(hook, event("a")).headers["RateLimit-Remaining"] == str(99 - number)


def _wrong_in_every_way(api: HookApi, hook: Hook, bearer: dict[str, str]) -> dict[str, Request]:
    disabled_id, disabled = api.new_hook(hook.scheme)
    api.hooks.disable(disabled_id)
    body, now = event("a"), int(time.time())
    signed = hook.headers(body)
    hook_id = hook.path.rpartition("/")[2]
    wrong = {
        "another body": (hook.path, body.replace(b'"a"', b'"b"'), signed),
        "no signature": (hook.path, body, JSON),
        "another hook's secret": (hook.path, body, disabled.headers(body)),
        "disabled": (disabled.path, body, disabled.headers(body)),
        "unknown": (f"/api/hooks/hk_{'0' * 32}", body, signed),
        "no id of a hook": ("/api/hooks/x", body, signed),
        "a bearer credential": (hook.path, body, bearer),
        "a hook's id as a credential": ("/api/ingest", body, {**JSON, "Authorization": f"Bearer {hook_id}"}),
        "not JSON": (hook.path, b"{", signed),
        "not gzip": (hook.path, body, {**signed, **GZIP}),
    }
    if hook.scheme in ("stripe", "standard"):
        wrong["stale"] = hook.path, body, hook.headers(body, at=now - 330)
        wrong["future"] = hook.path, body, hook.headers(body, at=now + 330)
    return wrong


def test_the_tolerance_is_the_hooks(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    _, hook = api.new_hook("standard", tolerance=3600)

    assert_accepted(api.post(hook, event("a"), at=int(time.time()) - 3000))


def test_a_delivery_that_is_signed_anew_is_accepted_once(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    for scheme in SCHEMES:
        (_, hook), (_, other) = api.new_hook(scheme), api.new_hook(scheme)
        body = event("a")
        first = assert_accepted(api.post(hook, body, at=int(time.time()) - 60))

        second = api.post(hook, body)

        assert assert_accepted(second) == first
        assert second.headers["Idempotent-Replayed"] == "true"
        assert assert_accepted(api.post(other, body)) != first
        assert_refused(api.post(hook, event("b")), 409, "idempotency_key_reused")


def test_ids_of_hooks_and_keys_of_clients_are_apart(api: HookApi, bearer: dict[str, str]) -> None:
    hook_id, hook = api.new_hook("hmac")
    body = event("a")
    keys = ("delivery-1", f"{hook_id}:delivery-1")
    own = [api.ask("/api/webhook/s?idField=item", body, {**bearer, "Idempotency-Key": key}) for key in keys]

    delivered = api.post(hook, body)

    assert len({assert_accepted(answer) for answer in [*own, delivered]}) == 3


def test_a_delivery_without_an_id_is_accepted_each_time(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    body = b'{"item":"a"}'
    for scheme, header in (("github", "X-GitHub-Delivery"), ("stripe", ""), ("hmac", "Idempotency-Key")):
        _, hook = api.new_hook(scheme)
        headers = {name: value for name, value in hook.headers(body).items() if name != header}
        assert assert_accepted(api.post(hook, body, headers)) != assert_accepted(api.post(hook, body, headers))


def test_what_is_signed_is_refused_like_any_webhook_and_costs_a_token(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    _, hook = api.new_hook()

    refused = [
        (api.post(hook, b"{"), 400, "invalid_json", None),
        (api.post(hook, b"[]"), 409, "wrong_type", "$"),
        (api.post(hook, b'{"id":1}'), 409, "missing_property", "$.item"),
    ]
    for left, (answer, status, code, path) in zip((99, 98, 97), refused, strict=True):
        assert_refused(answer, status, code, path)
        assert answer.headers["RateLimit-Remaining"] == str(left)
    assert_refused(api.post(hook, b"a=1", {"Content-Type": "text/plain"}), 415, "unsupported_media_type")


def test_a_compressed_body_is_signed_as_it_was_before(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    _, hook = api.new_hook("standard")
    small, large = event("a"), event("a", text="x" * MB)

    for number, body in enumerate((small, large)):
        headers = {**hook.headers(body, delivery=str(number)), **GZIP}
        assert_accepted(api.post(hook, gzip.compress(body), headers))
        assert_refused(api.post(hook, gzip.compress(body + b" "), headers), 401, "unauthorized")


def test_deliveries_and_the_credential_share_a_bucket_also_within_one_run(api: HookApi) -> None:
    made = api.connectors.create("crm", rate=0.001, burst=4)
    bearer = {**JSON, "Authorization": f"Bearer {made.credential.text}"}
    _, hook = api.new_hook()

    async def both() -> list[httpx.Response]:
        return await asyncio.gather(
            *(api.client.post("/api/ingest", content=batch(item("a")), headers=bearer) for _ in range(4)),
            *(
                api.client.post(hook.path, content=event("a"), headers=hook.headers(event("a"), delivery=str(number)))
                for number in range(4)
            ),
        )

    assert sorted(answer.status_code for answer in api.runner.run(both())) == [202] * 4 + [429] * 4


def test_strangers_take_neither_memory_nor_turns_of_the_connector(
    settings: Settings, connection: Connection, redis: Redis
) -> None:
    with hook_api(settings, connection, redis, max_inflight_bytes=256 * MB) as api:
        made = api.connectors.create("crm")
        bearer = {**JSON, "Authorization": f"Bearer {made.credential.text}"}
        _, hook = api.new_hook()
        flooding = asyncio.Event()

        async def endless() -> Any:
            yield b"x" * 29 * MB
            await flooding.wait()

        async def flood() -> tuple[httpx.Response, httpx.Response, list[httpx.Response]]:
            headers = {**hook.headers(b"{}"), "Content-Length": str(30 * MB)}
            strangers = [
                asyncio.create_task(api.client.post(hook.path, content=endless(), headers=headers)) for _ in range(3)
            ]
            (refused,), _ = await asyncio.wait(strangers, return_when=asyncio.FIRST_COMPLETED)
            own = await api.client.post("/api/ingest", content=batch(item("a", b="x" * 4 * MB)), headers=bearer)
            flooding.set()
            return refused.result(), own, await asyncio.gather(*strangers)

        refused, own, strangers = api.runner.run(flood())

    assert_refused(refused, 503, "connector_overloaded")
    assert_accepted(own)
    assert sorted(answer.status_code for answer in strangers) == [401, 401, 503]


def test_a_secret_that_no_key_opens_is_503_and_logged(
    api: HookApi, bearer: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del bearer
    hook_id, hook = api.new_hook()
    assert_accepted(api.post(hook, event("a")))
    foreign = Hooks(api.connectors, Keyring([os.urandom(32)]))
    other = dataclasses.replace(hook, secret=foreign.rotate(hook_id, keep_seconds=60))

    assert_accepted(api.post(hook, event("a"), delivery="beside"))
    answer = api.post(other, event("a"), delivery="other")

    assert_refused(answer, 503, "hooks_off")
    assert "RateLimit-Limit" not in answer.headers
    assert "hook_secret_unreadable" in (told := capsys.readouterr().out)
    assert other.secret not in told
    assert hook.secret not in told


def test_a_hook_that_was_damaged_by_hand_is_503_until_it_is_compared(
    api: HookApi, bearer: dict[str, str], connection: Connection, redis: Redis
) -> None:
    del bearer
    hook_id, hook = api.new_hook()
    name = next(iter(redis.scan_iter(f"*:credential:{hook_id}"))).decode()
    good = json.loads(redis.hget(name, "hook") or b"")
    damaged: Any = {"hook": "{", "digest": b"\xff"}, {"hook": json.dumps({**good, "scheme": "gitlab"})}

    for fields in damaged:
        redis.hset(name, mapping=fields)
        assert_refused(api.post(hook, event("a")), 503, "store_unavailable")
    load_lanes(connection, redis, range(4))
    assert_accepted(api.post(hook, event("a")))


def test_a_lane_that_was_not_compared_answers_503_to_known_and_unknown_hooks(
    api: HookApi, bearer: dict[str, str], connection: Connection, redis: Redis
) -> None:
    del bearer
    _, hook = api.new_hook()
    unknown = dataclasses.replace(hook, path=f"/api/hooks/hk_{'0' * 32}")
    lanes = [lane_keys(number) for number in range(4)]
    connection.execute("ALTER TABLE lanes RENAME TO away")  # so that nothing loads the lanes meanwhile

    for keys in lanes:
        redis.set(keys.ready, "another server")
    assert_refused(api.post(hook, event("a")), 503, "not_ready")
    for keys in lanes:
        redis.set(keys.ready, "another server")
    assert_refused(api.post(unknown, event("a")), 503, "not_ready")


def test_what_was_verified_before_a_secret_was_ended_is_not_appended(
    api: HookApi, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del bearer
    hook_id, hook = api.new_hook()
    assert_accepted(api.post(hook, event("a")))
    changes: list[Any] = [
        lambda: api.hooks.rotate(hook_id, keep_seconds=60),
        lambda: api.hooks.rotate(hook_id, keep_seconds=0, secret=hook.secret),
        lambda: api.hooks.disable(hook_id),
    ]
    statuses = []
    for number, change in enumerate(changes):
        with monkeypatch.context() as patch:
            _after_verifying(patch, change)
            statuses.append(api.post(hook, event("a"), delivery=str(number)).status_code)
    assert statuses == [202, 401, 401]


def _after_verifying(patch: pytest.MonkeyPatch, change: Any) -> None:
    """Make a change after a signature was verified, before the delivery is appended."""
    from ingest_api.delivery import Delivery  # noqa: PLC0415 - only this test looks inside

    name = Delivery.idempotency_key

    def change_then_name(self: Delivery, found: Any) -> bytes | None:
        change()
        return name(self, found)

    patch.setattr(Delivery, "idempotency_key", change_then_name)


def test_a_hook_of_another_connector_is_charged_to_that_one(api: HookApi, bearer: dict[str, str]) -> None:
    del bearer
    api.connectors.create("erp", burst=7)
    _, hook = api.new_hook(connector_id=2)

    assert api.post(hook, event("a")).headers["RateLimit-Limit"] == "7"
