"""`ingestctl operator`: people with a login to the operators' pages."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, RoleOption, account_name
from operations.cli.output import print_json, print_json_list, print_line, print_table
from operations.documents import OneTimePassword, OperatorDocument
from operations.operators import Operators, select_operators
from operations.readable import visible
from shared.rfc3339 import rfc3339

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create, list and revoke operators.")

Name = Annotated[str, typer.Argument(callback=account_name, metavar="NAME", help="Name of the operator.")]

_TITLES: Final = ("name", "role", "created", "password")


@app.command(
    epilog="""Examples:

    \b
      ingestctl operator create anna --role administrator
      ingestctl operator create anna --role viewer --json
    """
)
def create(name: Name, *, role: RoleOption, as_json: AsJson = False) -> None:
    """Create an operator and show a one-time password, which can't be shown again."""
    with session.open_database() as connection:
        password = Operators(connection).create(name, role)
    _show_password(name, password, as_json=as_json)


@app.command()
def reset(name: Name, *, as_json: AsJson = False) -> None:
    """Replace an operator's password by a one-time password, which is shown only now."""
    with session.open_database() as connection:
        password = Operators(connection).reset(name)
    _show_password(name, password, as_json=as_json)


@app.command()
def role(name: Name, *, role: RoleOption) -> None:
    """Give an operator another role."""
    with session.open_database() as connection:
        Operators(connection).change_role(name, role)
    print_line(f"The role of {name} is {role} now.")


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """List all operators."""
    with session.open_database() as connection:
        rows = select_operators(connection)
    if as_json:
        print_json_list("operators", (OperatorDocument.of(row).json() for row in rows))
    elif not rows:
        print_line("There are no operators: create one with `ingestctl operator create NAME --role administrator`.")
    else:
        print_table(_TITLES, map(_cells, rows))


@app.command()
def revoke(name: Name, *, as_json: AsJson = False) -> None:
    """Delete an operator: all sessions end at once."""
    with session.open_database() as connection:
        Operators(connection).revoke(name)
    if as_json:
        print_json({"name": name, "revoked": True})
    else:
        print_line(f"Operator {name} is revoked.")


def _show_password(name: str, password: str, *, as_json: bool) -> None:
    if as_json:
        print_json(OneTimePassword(name=name, one_time_password=password).json())
        return
    print_line(f"The one-time password of {name}, which is shown only now and must be replaced within three days:")
    print_line()
    print_line(password)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    one_time = rfc3339(row["one_time_until"])
    return (
        visible(row["name"]),
        row["role"],
        visible(rfc3339(row["created_at"])),
        f"one-time, until {one_time}" if one_time else "own",
    )
