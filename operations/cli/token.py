"""`ingestctl token`: tokens with which programs use the operations API."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, RoleOption, account_name, seconds_of
from operations.cli.output import print_json, print_json_list, print_line, print_table
from operations.documents import TokenDocument
from operations.readable import visible
from operations.tokens import Tokens, select_tokens
from shared.rfc3339 import rfc3339

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Create, list and revoke tokens of the operations API."
)

Name = Annotated[str, typer.Argument(callback=account_name, metavar="NAME", help="Name of the token.")]

_TITLES: Final = ("name", "id", "role", "created", "expires")


@app.command(
    epilog="""Examples:

    \b
      ingestctl token create dashboards --role viewer
      ingestctl token create deploy --role operator --expires 90d --json
    """
)
def create(
    name: Name,
    *,
    role: RoleOption,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Time for which it is valid: 12h, 90d; else until revoked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token of the operations API and show it; it can't be shown again."""
    with session.open_database() as connection:
        made = Tokens(connection).create(name, role, None if expires is None else seconds_of(expires))
    if as_json:
        document = {"name": name, "tokenId": made.token_id, "role": role.value, "token": made.text}
        print_json({**document, "expiresAt": rfc3339(made.expires_at)})
        return
    print_line(f"Token {name} is created ({role}). It is shown only now:")
    print_line()
    print_line(made.text)


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """List all tokens."""
    with session.open_database() as connection:
        rows = select_tokens(connection)
    if as_json:
        print_json_list("tokens", (TokenDocument.of(row).json() for row in rows))
    elif not rows:
        print_line("There are no tokens: create one with `ingestctl token create NAME --role viewer`.")
    else:
        print_table(_TITLES, map(_cells, rows), whole=("id",))


@app.command()
def revoke(name: Name, *, as_json: AsJson = False) -> None:
    """Delete a token: it is refused from now on."""
    with session.open_database() as connection:
        Tokens(connection).revoke(name)
    if as_json:
        print_json({"name": name, "revoked": True})
    else:
        print_line(f"Token {name} is revoked.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    expires = rfc3339(row["expires_at"]) or "never"
    return (
        visible(row["name"]),
        row["token_id"],
        row["role"],
        visible(rfc3339(row["created_at"])),
        f"{expires} (expired)" if row["expired"] else expires,
    )
