"""`ingestctl hook`: hooks, to which senders post signed webhooks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import LARGEST_ID, AsJson, ConnectorId, hook_id_of, plain_text, seconds_of, secret_text
from operations.cli.output import print_json, print_json_list, print_line, print_members, print_table
from operations.hooks import NewHook, hook_document, require_usable, secret_times, select_hooks
from operations.readable import readable_seconds, visible, yes_or_no
from shared import json_pointer
from shared.causes import SentenceError
from shared.hooks.hook import DEFAULT_TOLERANCE, path_of
from shared.hooks.schemes import SCHEMES
from shared.kinds.items import STREAM
from shared.limits import MAX_KEY_BYTES
from shared.rfc3339 import rfc3339

_TITLES: Final = ("hook id", "connector", "scheme", "stream", "id field", "tolerance", "enabled", "secrets")
_MAX_TOLERANCE: Final = 86_400
_AFTER_AN_ERROR_IN_CREATE: Final = (
    "If `ingestctl hook list` shows the hook, get a secret with `ingestctl hook rotate`; if not, create it again."
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Manage hooks, which take signed webhooks.")


def _scheme(value: str) -> str:
    if value not in SCHEMES:
        raise typer.BadParameter(f"It must be one of {', '.join(SCHEMES)}.")
    return value


def _stream(value: str) -> str:
    if not re.fullmatch(rf"{STREAM.characters}{{1,{STREAM.max_characters}}}", value):
        raise typer.BadParameter(STREAM.message.format(max=STREAM.max_characters))
    return value


def _id_field(value: str) -> str:
    text = plain_text(value) or ""
    if not 1 <= len(text.encode()) <= MAX_KEY_BYTES or "\0" in text:
        raise typer.BadParameter(f"It must have 1 to {MAX_KEY_BYTES} bytes.")
    try:
        json_pointer.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"It {error}.") from None
    return text


HookId = Annotated[str, typer.Argument(callback=hook_id_of, metavar="HOOK_ID", help="Id of the hook.")]
Secret = Annotated[
    str | None,
    typer.Option(
        callback=secret_text, help="The secret that the sender shows; `-` reads it from stdin. One is made without it."
    ),
]


@app.command(
    epilog="""Examples:

    \b
      ingestctl hook create 1 --scheme github --stream pushes --id-field after
      ingestctl hook create 1 --scheme stripe --stream events --secret - --json
    """
)
def create(
    connector_id: ConnectorId,
    *,
    scheme: Annotated[str, typer.Option(callback=_scheme, metavar="|".join(SCHEMES), help="How the sender signs.")],
    stream: Annotated[str, typer.Option(callback=_stream, help="Stream of the items.")],
    id_field: Annotated[
        str, typer.Option(callback=_id_field, help="Body's member with the id, or a JSON Pointer.")
    ] = "id",
    secret: Secret = None,
    tolerance: Annotated[
        int, typer.Option(min=1, max=_MAX_TOLERANCE, help="Seconds that a signed time stamp may be away from now.")
    ] = DEFAULT_TOLERANCE,
    as_json: AsJson = False,
) -> None:
    """Create a hook of a connector and show its secret, which can't be shown again."""
    _require_usable(scheme, secret)
    with session.changing_hooks(_AFTER_AN_ERROR_IN_CREATE) as hooks:
        hook_id, made = hooks.create(connector_id, NewHook(scheme, stream, id_field, tolerance), secret)
    if as_json:
        print_json({"hookId": hook_id, "connectorId": connector_id, "path": path_of(hook_id), "secret": made})
        return
    print_line(f"Hook {hook_id} of connector {connector_id} is created. The sender posts to:")
    print_line()
    print_line(path_of(hook_id))
    print_line()
    print_line("Its secret, which is shown only now:")
    print_line()
    print_line(visible(made))


@app.command("list")
def list_all(
    connector_id: Annotated[
        int | None, typer.Argument(min=1, max=LARGEST_ID, metavar="[CONNECTOR_ID]", help="Only those of a connector.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List all hooks, or those of one connector."""
    with session.open_database() as connection:
        rows = select_hooks(connection, connector_id=connector_id)
    if as_json:
        print_json_list("hooks", map(hook_document, rows))
    elif not rows:
        print_line("There are no hooks: create one with `ingestctl hook create`.")
    else:
        print_table(_TITLES, map(_cells, rows), numbers=("connector", "tolerance"), whole=("hook id",))


@app.command()
def show(hook_id: HookId, *, as_json: AsJson = False) -> None:
    """Show one hook, without its secrets."""
    with session.open_database() as connection:
        row = select_hooks(connection, hook_id=hook_id)[0]
    if as_json:
        print_json(hook_document(row))
        return
    cells = dict(zip(_TITLES, _cells(row), strict=True))
    print_members({**cells, "path": path_of(hook_id), "created": visible(rfc3339(row["created_at"]))})


@app.command(
    epilog="""Examples:

    \b
      ingestctl hook rotate hk_0123456789abcdef0123456789abcdef
      ingestctl hook rotate hk_0123456789abcdef0123456789abcdef --keep-old 0 --json
    """
)
def rotate(
    hook_id: HookId,
    *,
    keep_old: Annotated[
        int,
        typer.Option(parser=seconds_of, metavar="DURATION", help="Time for which the old secret stays valid: 30m, 0."),
    ] = "24h",  # type: ignore[assignment] # typer parses the default, too
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """Add a secret beside the old one, which stays valid for a while, and show the new one.

    The new secret is accepted from the moment the command succeeds; with `--keep-old 0`, the old one is refused from
    then on.
    """
    with session.changing_hooks() as hooks:
        if secret is not None:
            _require_usable(hooks.find(hook_id)["scheme"], secret)
        made = hooks.rotate(hook_id, keep_seconds=keep_old, secret=secret)
    if as_json:
        print_json({"hookId": hook_id, "path": path_of(hook_id), "secret": made, "oldValidSeconds": keep_old})
        return
    told = f"stays valid for {readable_seconds(keep_old)}" if keep_old else "is refused from now on"
    print_line(f"The old secret of {hook_id} {told}.")
    print_line("The new one, which is shown only now:")
    print_line()
    print_line(visible(made))


@app.command()
def disable(hook_id: HookId, *, as_json: AsJson = False) -> None:
    """Refuse a hook's deliveries everywhere, from now until the hook is enabled."""
    with session.changing_hooks(needs_key=False) as hooks:
        hooks.disable(hook_id)
    show(hook_id, as_json=as_json)


@app.command()
def enable(hook_id: HookId, *, as_json: AsJson = False) -> None:
    """Accept a hook's deliveries again."""
    with session.changing_hooks(needs_key=False) as hooks:
        hooks.enable(hook_id)
    show(hook_id, as_json=as_json)


@app.command()
def delete(hook_id: HookId, *, as_json: AsJson = False) -> None:
    """Delete a hook: its deliveries are refused everywhere from now on; its items stay."""
    with session.changing_hooks(needs_key=False) as hooks:
        hooks.delete(hook_id)
    if as_json:
        print_json({"hookId": hook_id, "deleted": True})
    else:
        print_line(f"Hook {hook_id} is deleted.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ends = [rfc3339(expires) or "current" for _, expires in secret_times(row)]
    return (
        row["hook_id"],
        str(row["connector_id"]),
        row["scheme"],
        row["stream"],
        visible(row["id_field"]),
        f"{row['tolerance']} s",
        yes_or_no(row["enabled"]),
        ", ".join(end if end == "current" else f"until {end}" for end in ends),
    )


def _require_usable(scheme: str, secret: str | None) -> None:
    try:
        require_usable(scheme, secret)
    except SentenceError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
