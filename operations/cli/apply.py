"""`ingestctl apply` and `export`: connectors as a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from operations.applying import Step, apply_steps, differences, exported, read_file, select_described
from operations.cli import session
from operations.cli.arguments import AsJson, read_input
from operations.cli.connector_selection import progress_bar
from operations.cli.output import print_json, print_line
from operations.configurations import Configurations
from operations.connectors import Connectors, CreatedConnector
from operations.readable import counted, readable_number, visible, yes_or_no

APPLY_EXAMPLES: Final = """Examples:

    \b
      ingestctl apply -f connectors.yaml --dry-run
      ingestctl apply -f connectors.yaml

    The file; what it does not give stays as it is:

    \b
      connectors:
        - name: crm
          rate: 100
          burst: 200
          enabled: true
          configuration: {"Interval": 30}
    """
EXPORT_EXAMPLES: Final = """Examples:

    \b
      ingestctl export > connectors.yaml
    """
_AFTER_AN_ERROR: Final = (
    "Run the same command again for the rest. If a connector was created and its credential is not shown here, get "
    "one with `ingestctl credential rotate`."
)


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="File in YAML or JSON; - is stdin.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create and change connectors as a file describes them, after saying what will be changed.

    The credential of a connector that it creates is shown, and can't be shown again. Connectors that the file does
    not name are left alone. Applied a second time, it changes nothing.
    """
    wanted = read_file(read_input(file))
    with session.changing_connectors(_AFTER_AN_ERROR) as connectors:
        steps = differences(wanted, select_described(connectors.connection))
        if not as_json:
            _print_plan(steps, len(wanted))
        made = [] if dry_run else list(_applied(connectors, steps, as_json=as_json))
    if as_json:
        told = {step.name: created for step, created in made}
        changes = [_document(step, told.get(step.name)) for step in steps]
        print_json({"changes": changes, "unchanged": len(wanted) - len(steps), "applied": not dry_run})
    elif made:
        print_line(f"{counted(len(made), 'connector')} created or changed.")


def export() -> None:
    """Print all connectors as a file for `ingestctl apply`, without their credentials."""
    with session.open_database() as connection:
        document = exported(select_described(connection))
    yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)


def _applied(
    connectors: Connectors, steps: list[Step], *, as_json: bool
) -> Iterator[tuple[Step, CreatedConnector | None]]:
    configurations = Configurations(connectors.connection, connectors.actor)
    with progress_bar("Applied", len(steps)) as advance:
        for done, (step, created) in enumerate(apply_steps(steps, connectors, configurations), start=1):
            advance(done)
            if created and not as_json:  # at once: it can't be shown again if a later step fails
                print_line(f"{visible(step.name)}: {created.credential.text}", flush=True)
            yield step, created


def _print_plan(steps: list[Step], total: int) -> None:
    for step in steps:
        verb = "create" if step.connector_id is None else f"change {step.connector_id}"
        changes = (
            f"{name} {_readable(step.before[name])} → {_readable(value)}"
            if name in step.before and name != "configuration"
            else f"{name} {_readable(value)}"
            for name, value in step.after.items()
        )
        print_line("  ".join(filter(None, [verb, visible(step.name), ", ".join(changes)])))
    print_line(f"{counted(len(steps), 'change')}, {total - len(steps):,} unchanged.")


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return yes_or_no(value)
    return readable_number(value) if isinstance(value, int | float) else visible(str(value))


def _document(step: Step, created: CreatedConnector | None) -> dict[str, Any]:
    document = {
        "name": step.name,
        "action": "create" if step.connector_id is None else "change",
        "before": dict(step.before),
        "after": dict(step.after),
    }
    if created is None:
        return {**document, "connectorId": step.connector_id}
    return {**document, "connectorId": created.connector_id, "credential": created.credential.text}
