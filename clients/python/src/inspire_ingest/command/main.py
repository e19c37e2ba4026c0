"""The arguments of `inspire`, and what its errors become."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from inspire_ingest.errors import IngestError
from inspire_ingest.http import VERSION

from . import conform, connector, push

#: Exit code after Ctrl-C, as shells have it.
_INTERRUPTED = 130
#: Each command: its function, what declares its arguments, a line of help, a page of it.
_COMMANDS: dict[str, tuple[Any, Any, str, str | None]] = {
    "push": (push.run, push.add_arguments, "send the rows of a file or a query", push.DESCRIPTION),
    "check": (connector.check, None, "see that address and credential are right, without sending anything", None),
    "config": (connector.config, connector.add_config, "print the configuration", None),
    "log": (connector.log, connector.add_log, "send a log entry", None),
    "heartbeat": (connector.heartbeat, None, "send a heartbeat", None),
    "request": (connector.request, connector.add_request, "print what became of a submission", None),
    "conform": (conform.run, conform.add_arguments, "judge a connector of any language", conform.DESCRIPTION),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 and a sentence if it can't be done."""
    arguments = _parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        return _failed(f"{error.filename or 'The output'}: {error.strerror}.")
    except IngestError as error:
        return _failed(str(error))
    return code


def _failed(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inspire",
        description="Send rows to Inspire Data Ingest, at INSPIRE_BASE_URL with the credential INSPIRE_INGEST_KEY.",
    )
    parser.add_argument("--version", action="version", version=f"inspire {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, add_arguments, summary, description) in _COMMANDS.items():
        one = commands.add_parser(
            name,
            help=summary,
            description=description or f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        if add_arguments:
            add_arguments(one)
        one.set_defaults(run=run)
    return parser
