"""`POST /api/hooks/{hookId}` takes what its sender signed, in every process, until an operator takes the right away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tests.support.client import Connector, assert_accepted, assert_refused
from tests.support.processes import wait_until
from tests.support.signing import SCHEMES, Hook, event
from tests.support.stack import Api, Stack


def test_a_signed_delivery_becomes_an_item_once(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    for scheme in SCHEMES:
        _, hook = stack.hook(connector, scheme, "--stream", scheme, "--id-field", "item")
        body = event(scheme, nested={"a": [1]})

        first = assert_accepted(hook.send(stack.url, body))
        second = hook.send(f"{neighbour.url}/datapool", body)

        assert assert_accepted(second) == first
        assert second.headers["Idempotent-Replayed"] == "true"
        wait_until("the item is stored", lambda: stack.fields(connector, scheme, scheme))  # noqa: B023 - called at once
        expected = {"id": "delivery-1", "item": scheme, "nested": '{"a": [1]}'}
        assert stack.fields(connector, scheme, scheme) == expected
        with connector.connection() as client:
            assert client.get(f"/api/requests/{first}").json()["kind"] == "webhook"
        assert hook.secret not in stack.made.printed


def test_a_change_holds_in_every_process_when_the_command_returns(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    hook_id, hook = stack.hook(connector, "github", "--stream", "s", "--id-field", "item")
    deliveries = iter(range(1000))

    def send(hook: Hook) -> list[int]:
        urls = (stack.url, neighbour.url)
        return [hook.send(url, event("a"), delivery=str(next(deliveries))).status_code for url in urls]

    def change(*words: str) -> Any:
        return stack.ingestctl(*words)

    assert send(hook) == [202, 202]
    change("hook", "disable", hook_id)
    assert send(hook) == [401, 401]
    change("hook", "enable", hook_id)
    assert send(hook) == [202, 202]
    change("connector", "disable", str(connector.id))
    assert send(hook) == [401, 401]
    change("connector", "enable", str(connector.id))
    change("credential", "rotate", str(connector.id))
    assert send(hook) == [202, 202]
    second = dataclasses.replace(hook, secret=change("hook", "rotate", hook_id)["secret"])
    assert send(second) == send(hook) == [202, 202]
    third = dataclasses.replace(hook, secret=change("hook", "rotate", hook_id, "--keep-old", "0")["secret"])
    assert send(third) == [202, 202]
    assert send(second) == send(hook) == [401, 401]
    change("hook", "delete", hook_id)
    assert send(third) == [401, 401]


def test_without_a_key_hooks_are_off_and_say_so(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    _, hook = stack.hook(new_connector(stack), "github", "--stream", "s", "--id-field", "item")
    with stack.api(SECRETS_KEY="") as api:
        answer = hook.send(api.url, event("a"))

    assert_refused(answer, 503, "hooks_off")
    assert answer.headers["Retry-After"] == "1"
