"""`POST /api/hooks/{hookId}` takes what its sender signed, once, and nothing else."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import GZIP, JSON, Connector, assert_accepted, assert_refused, batch, item
from tests.support.processes import wait_until
from tests.support.signing import SCHEMES, Hook, event
from tests.support.stack import Api, Stack


@pytest.fixture(scope="module")
def connector(stack: Stack) -> Connector:
    """A connector with a hook of each scheme."""
    return stack.connector("has hooks")


@pytest.fixture(scope="module")
def hooks(stack: Stack, connector: Connector) -> dict[str, Hook]:
    """A hook of each scheme."""
    return {scheme: new_hook(stack, connector, scheme) for scheme in SCHEMES}


def new_hook(stack: Stack, connector: Connector, scheme: str = "github", *words: str) -> Hook:
    """Create a hook whose stream is named after the scheme."""
    options = ("--scheme", scheme, "--stream", scheme, "--id-field", "item", *words)
    made = stack.ingestctl("hook", "create", str(connector.id), *options)
    return Hook(made["hookId"], made["path"], made["secret"], scheme, connector)


every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


@every_scheme
def test_a_signed_delivery_becomes_an_item(stack: Stack, hooks: dict[str, Hook], scheme: str) -> None:
    hook = hooks[scheme]

    request_id = assert_accepted(hook.send(event(scheme, "first", nested={"a": [1]}), delivery="first"))

    wait_until("the item is stored", lambda: stack.fields(hook.connector, scheme, scheme))
    assert stack.fields(hook.connector, scheme, scheme) == {"id": "first", "item": scheme, "nested": '{"a": [1]}'}
    with hook.connector.connection() as client:
        status = client.get(f"/api/requests/{request_id}").json()
    assert (status["state"], status["kind"]) == ("applied", "webhook")


@every_scheme
def test_a_delivery_that_is_repeated_is_accepted_once(hooks: dict[str, Hook], neighbour: Api, scheme: str) -> None:
    hook, body = hooks[scheme], event("repeated", "again")
    first = assert_accepted(hook.send(body, at=int(time.time()) - 60, delivery="again"))

    second = hook.send(body, url=neighbour.url, delivery="again")

    assert assert_accepted(second) == first
    assert second.headers["Idempotent-Replayed"] == "true"


def test_delivery_ids_of_hooks_and_keys_of_clients_are_apart(stack: Stack, hooks: dict[str, Hook]) -> None:
    hook, body = hooks["hmac"], event("apart")
    other = new_hook(stack, hook.connector, "hmac")
    own = hook.connector.post(batch(item("apart")), headers={**JSON, "Idempotency-Key": "shared"})

    answers = [own, hook.send(body, delivery="shared"), other.send(body, delivery="shared")]

    assert len({assert_accepted(answer) for answer in answers}) == 3


@every_scheme
def test_whatever_is_wrong_gets_the_same_401(stack: Stack, hooks: dict[str, Hook], scheme: str) -> None:
    hook, body = hooks[scheme], event("wrong")
    signed, now = hook.headers(body), int(time.time())
    disabled = new_hook(stack, hook.connector, scheme)
    stack.ingestctl("hook", "disable", disabled.id)
    elsewhere = Hook("", f"/api/hooks/hk_{'0' * 32}", hook.secret, scheme, hook.connector)
    answers = {
        "another body": hook.post(body.replace(b"wrong", b"wrung"), signed),
        "no signature": hook.post(body, JSON),
        "another secret": Hook(hook.id, hook.path, disabled.secret, scheme, hook.connector).send(body),
        "disabled": disabled.send(body),
        "unknown": elsewhere.send(body),
        "no id at all": Hook("", "/api/hooks/x", hook.secret, scheme, hook.connector).send(body),
        "a bearer credential": hook.post(body, {**JSON, **hook.connector.bearer}),
        "not JSON": hook.post(b"{", signed),
        "not gzip": hook.post(body, {**signed, "Content-Encoding": "gzip"}),
    }
    if scheme in ("stripe", "standard"):
        answers |= {"stale": hook.send(body, at=now - 330), "future": hook.send(body, at=now + 330)}

    for what, answer in answers.items():
        error = assert_refused(answer, 401, "unauthorized")
        seen = {name for name in answer.headers if name not in ("date", "x-request-id", "content-length")}
        assert seen == {"content-type", "www-authenticate"}, what
        assert error == {"code": "unauthorized", "message": "The credential or signature is not valid."}


def test_what_is_signed_is_refused_like_any_webhook(hooks: dict[str, Hook]) -> None:
    hook = hooks["github"]

    assert_refused(hook.send(b"{"), 400, "invalid_json")
    assert_refused(hook.send(b"[]"), 409, "wrong_type", "$")
    assert_refused(hook.send(b'{"id":1}'), 409, "missing_property", "$.item")
    assert_refused(hook.post(b"a=1", {"Content-Type": "text/plain"}), 415, "unsupported_media_type")


def test_a_compressed_body_is_signed_as_it_was_before(hooks: dict[str, Hook]) -> None:
    hook, body = hooks["standard"], event("compressed")

    headers = {**hook.headers(body, delivery="compressed"), **GZIP}

    assert_accepted(hook.post(gzip.compress(body), headers))
    assert_refused(hook.post(gzip.compress(body + b" "), headers), 401, "unauthorized")


def test_deliveries_share_the_connectors_bucket_and_forgeries_cost_nothing(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack, rate=0.001, burst=4)
    hook = new_hook(stack, connector)
    forged = hook.headers(b"{}")

    assert {hook.post(event("a"), forged).status_code for _ in range(6)} == {401}
    connector.send(item("a"))
    remaining = [hook.send(event("a"), delivery=str(number)).headers["RateLimit-Remaining"] for number in range(3)]

    assert remaining == ["2", "1", "0"]
    assert_refused(hook.send(event("a")), 429, "rate_limited")
    assert connector.post(batch(item("a"))).status_code == 429


def until_refused(hook: Hook, urls: list[str], change: Callable[[], Any]) -> None:
    """Deliver to each process, change the hook, and assert that each one refuses from then on."""
    for url in urls:
        assert_accepted(hook.send(event("before"), url=url))
    change()
    for url in urls:
        assert_refused(hook.send(event("after"), url=url, delivery="after"), 401, "unauthorized")


def test_a_change_holds_in_every_process_when_the_command_returns(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    hook, urls = new_hook(stack, connector), [stack.url, neighbour.url]

    until_refused(hook, urls, lambda: stack.ingestctl("hook", "disable", hook.id))
    stack.ingestctl("hook", "enable", hook.id)
    until_refused(hook, urls, lambda: stack.ingestctl("connector", "disable", str(connector.id)))
    stack.ingestctl("connector", "enable", str(connector.id))
    stack.rotate(connector)
    until_refused(hook, urls, lambda: stack.ingestctl("hook", "rotate", hook.id, "--keep-old", "0"))

    hook = Hook(hook.id, hook.path, stack.ingestctl("hook", "rotate", hook.id)["secret"], "github", connector)
    until_refused(hook, urls, lambda: stack.ingestctl("hook", "delete", hook.id))


def test_an_old_secret_is_valid_beside_the_new_one_for_a_while(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    old = new_hook(stack, new_connector(stack), "standard")
    rotated = stack.ingestctl("hook", "rotate", old.id, "--keep-old", "3s")
    new = Hook(old.id, old.path, rotated["secret"], old.scheme, old.connector)

    for number, hook in enumerate((new, old)):
        assert_accepted(hook.send(event("a"), url=neighbour.url, delivery=str(number)))

    wait_until("the old secret has ended", lambda: old.send(event("a"), delivery="2").status_code == 401)
    assert_accepted(new.send(event("a"), delivery="3"))


def test_without_a_key_hooks_are_off_and_say_so(stack: Stack, hooks: dict[str, Hook]) -> None:
    with stack.api(SECRETS_KEY="") as api:
        answer = hooks["github"].send(event("a"), url=api.url)

    assert_refused(answer, 503, "hooks_off")
    assert answer.headers["Retry-After"] == "1"
