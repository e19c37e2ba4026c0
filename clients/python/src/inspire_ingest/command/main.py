"""The arguments of `inspire`, and what its errors become."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from inspire_ingest.errors import IngestError
from inspire_ingest.http import VERSION

from . import conform

#: Exit code after Ctrl-C, as shells have it.
_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 and a sentence if it can't be done."""
    arguments = _parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (IngestError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inspire", description="Send rows to Inspire Data Ingest.")
    parser.add_argument("--version", action="version", version=f"inspire {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, summary in (("conform", conform, "judge a connector of any language"),):
        one = commands.add_parser(
            name, help=summary, description=module.DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        one.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    return parser
