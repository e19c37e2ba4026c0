"""`ingestctl emulate`: the API without engines, for tests of connectors."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from operations.cli.arguments import AsJson
from operations.cli.errors import CommandError
from operations.cli.output import print_json_line, print_line
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.process.parent_death import die_with_parent

EXAMPLES: Final = """Examples:

    \b
      ingestctl emulate
      ingestctl emulate --port 8002 --fail 503:2% --slow 200ms:10% --lose-answer 1%
      ingestctl emulate --rate 20 --rotate-after 30s --script faults.json
    """

_Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")]
_Fail = Annotated[
    list[str] | None, typer.Option(metavar="STATUS[:SHARE]", help="Refuse submissions: 503:2%. May be repeated.")
]
_Slow = Annotated[str, typer.Option(metavar="TIME[:SHARE]", help="Delay submissions: 200ms, or 2s:5%.")]
_LoseAnswer = Annotated[
    str, typer.Option(metavar="SHARE", help="Process submissions, and cut the connection instead of answering.")
]
_Rate = Annotated[float | None, typer.Option(min=0.01, help="Requests a second that the credential may send.")]
_ApplyAfter = Annotated[str, typer.Option(metavar="TIME", help="Time before submissions are applied.")]
_RotateAfter = Annotated[str, typer.Option(metavar="TIME", help="Time after which the credential changes.")]
_Script = Annotated[
    Path | None, typer.Option(dir_okay=False, exists=True, help="Further faults, as a JSON array of rules.")
]
_Seed = Annotated[int | None, typer.Option(help="Repeats the faults of a run.")]
_EndWithParent = Annotated[bool, typer.Option("--end-with-parent", help="End when the caller ends.")]


def emulate(  # noqa: PLR0913 - each option is an argument
    *,
    port: _Port = 8000,
    fail: _Fail = None,
    slow: _Slow = "",
    lose_answer: _LoseAnswer = "",
    rate: _Rate = None,
    apply_after: _ApplyAfter = "0s",
    rotate_after: _RotateAfter = "",
    script: _Script = None,
    seed: _Seed = None,
    end_with_parent: _EndWithParent = False,
    as_json: AsJson = False,
) -> None:
    """Serve the API from memory, for tests of connectors, and print a credential for it.

    Nothing is kept. docs/emulator.md has the rules of a script, and the routes below /_emulator that show what came.
    """
    if end_with_parent:
        die_with_parent(parent=os.getppid())
    faults, server = _emulator()
    rules = [_rule(faults, "fail", one, "status", faults.parse_status) for one in fail or ()]
    rules += [_rule(faults, "slow", slow, "seconds", faults.parse_seconds)] if slow else []
    rules += [faults.Rule(fault="loseAnswer", share=faults.parse_share(lose_answer))] if lose_answer else []
    options = server.Options(
        port=port,
        rate=rate or DEFAULT_RATE,
        burst=max(1, int(rate)) if rate else DEFAULT_BURST,
        rules=(*rules, *(faults.rules_of(script.read_bytes()) if script else ())),
        seed=seed,
        apply_after=faults.parse_seconds(apply_after),
        rotate_after=faults.parse_seconds(rotate_after) if rotate_after else None,
    )
    server.serve(options, print_json_line if as_json else _print)


def _emulator() -> Any:
    """Import what only this command needs, and only the extra `emulator` installs."""
    try:
        import_module("lupa")  # fakeredis can be imported without it, and then has no scripts
        from emulator import faults, server  # noqa: PLC0415 - it takes half a second
    except ModuleNotFoundError as error:
        if error.name not in ("fakeredis", "lupa"):
            raise
        raise CommandError("The emulator is not installed: pip install 'inspire-data-ingest[emulator]'.") from error
    return faults, server


def _rule(faults: Any, fault: str, text: str, name: str, parse: Any) -> Any:
    value, share = faults.with_share(text, parse)
    return faults.Rule(**{"fault": fault, name: value, "share": share})


def _print(told: dict[str, Any]) -> None:
    print_line(f"export INSPIRE_BASE_URL={told['url']}")
    print_line(f"export INSPIRE_INGEST_KEY={told['credential']}", flush=True)
