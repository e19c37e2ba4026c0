"""Operations on hooks, to which senders post signed webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from operations.api.answers import Hook, HookSecret
from operations.api.inputs import END, HookId, Id
from operations.api.operation import Call, Input, Page, operation
from operations.hooks import NewHook, hook_document, select_hooks
from operations.roles import Role
from shared.hooks.hook import DEFAULT_TOLERANCE
from shared.hooks.schemes import SCHEMES
from shared.kinds.items import STREAM
from shared.limits import MAX_KEY_BYTES

Scheme = Annotated[str, Meta(pattern=f"^({'|'.join(SCHEMES)}){END}")]
Secret = Annotated[str, Meta(min_length=1, max_length=1000)]


class NewHookInput(Input):
    """A hook to create; without a secret, one is made."""

    scheme: Scheme
    stream: Annotated[str, Meta(pattern=f"^{STREAM.characters}{{1,{STREAM.max_characters}}}{END}")]
    id_field: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES)] = "id"
    tolerance_seconds: Annotated[int, Meta(ge=1, le=86_400)] = DEFAULT_TOLERANCE
    secret: Secret | None = None


class HookChange(Input):
    """Whether the hook's deliveries are accepted."""

    enabled: bool


class SecretChange(Input):
    """A secret to add, and for how long those before it stay valid; without one, it is made."""

    keep_seconds: Annotated[int, Meta(ge=0, le=31_536_000)] = 86_400
    secret: Secret | None = None


class HookQuery(Input):
    """Which hooks."""

    connector_id: Id | None = None


@operation("GET", "/hooks", Role.VIEWER, answer=Page[Hook])
def list_hooks(call: Call, query: HookQuery) -> Page[dict[str, Any]]:
    """List hooks, or those of one connector, without their secrets."""
    with call.engines.database() as connection:
        return Page(items=[hook_document(row) for row in select_hooks(connection, connector_id=query.connector_id)])


@operation("POST", "/connectors/{connector_id}/hooks", Role.OPERATOR, status=201)
def create_hook(call: Call, connector_id: Id, body: NewHookInput) -> HookSecret:
    """Create a hook of a connector. Its secret is told only now."""
    made = NewHook(body.scheme, body.stream, body.id_field, body.tolerance_seconds)
    with call.engines.hooks(call.actor) as hooks:
        hook_id, secret = hooks.create(connector_id, made, body.secret)
    return HookSecret(hook_id=hook_id, secret=secret)


@operation("GET", "/hooks/{hook_id}", Role.VIEWER, answer=Hook)
def show_hook(call: Call, hook_id: HookId) -> dict[str, Any]:
    """Show one hook, without its secrets."""
    return _hook(call, hook_id)


@operation("PATCH", "/hooks/{hook_id}", Role.OPERATOR, answer=Hook)
def change_hook(call: Call, hook_id: HookId, body: HookChange) -> dict[str, Any]:
    """Accept or refuse a hook's deliveries."""
    with call.engines.hooks(call.actor) as hooks:
        (hooks.enable if body.enabled else hooks.disable)(hook_id)
    return _hook(call, hook_id)


@operation("POST", "/hooks/{hook_id}/secret", Role.OPERATOR)
def rotate_secret(call: Call, hook_id: HookId, body: SecretChange) -> HookSecret:
    """Add a secret beside those before it, which stay valid for a while. It is told only now."""
    with call.engines.hooks(call.actor) as hooks:
        secret = hooks.rotate(hook_id, keep_seconds=body.keep_seconds, secret=body.secret)
    return HookSecret(hook_id=hook_id, secret=secret)


@operation("DELETE", "/hooks/{hook_id}", Role.OPERATOR, status=204)
def delete_hook(call: Call, hook_id: HookId) -> None:
    """Delete a hook: its deliveries are refused everywhere from now on; its items stay."""
    with call.engines.hooks(call.actor) as hooks:
        hooks.delete(hook_id)


def _hook(call: Call, hook_id: str) -> dict[str, Any]:
    with call.engines.database() as connection:
        return hook_document(select_hooks(connection, hook_id=hook_id)[0])


OPERATIONS: Final = (list_hooks, create_hook, show_hook, change_hook, rotate_secret, delete_hook)
