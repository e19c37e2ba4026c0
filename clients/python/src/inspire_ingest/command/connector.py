"""`inspire check`, `config`, `log`, `heartbeat` and `request`: a connector looked after from a shell."""

from __future__ import annotations

import argparse
import json
import sys

from inspire_ingest.batches import LOG_LANE
from inspire_ingest.connector import Connector
from inspire_ingest.errors import ConfigurationError, Refused

from .output import print_document

#: How long a command is retried.
_SECONDS = 10.0
#: Exit codes of `request`.
_STATES = {"applied": 0, "dead": 1, "queued": 3}


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `config`."""
    parser.add_argument("--default", metavar="JSON", help="publish this object, if operators manage no configuration")


def add_log(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `log`."""
    parser.add_argument("level", help="trace, debug, info, warn, error or fatal")
    parser.add_argument("message")
    parser.add_argument("context", nargs="*", metavar="NAME=VALUE", help="further values")


def add_request(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `request`."""
    parser.add_argument("id", help="the request id of a 202")
    parser.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait so long for a final state")


def check(arguments: argparse.Namespace) -> int:
    """See that address and credential are right, without sending anything."""
    with _connector() as connector:
        settings = connector.config()
    print_document({"status": "ok", "configuration": settings}, as_json=arguments.json)
    return 0


def config(arguments: argparse.Namespace) -> int:
    """Print the configuration, as one JSON object."""
    try:
        default = json.loads(arguments.default) if arguments.default else None
    except ValueError:
        default = ()
    if default is not None and not isinstance(default, dict):
        message = "--default must be a JSON object."
        raise ConfigurationError(message)
    with _connector() as connector:
        sys.stdout.write(f"{json.dumps(connector.config(default), ensure_ascii=False)}\n")
    return 0


def log(arguments: argparse.Namespace) -> int:
    """Send one log entry."""
    context = dict(one.partition("=")[::2] for one in arguments.context)
    with _connector() as connector:
        connector.log(arguments.level, arguments.message, **context)
        logs = connector.stream(LOG_LANE)
        logs.flush(wait="accepted", timeout=_SECONDS)
    if not logs.result.request_ids:
        message = f"The entry was refused: is {arguments.level} one of the levels?"
        raise Refused(message)
    print_document({"requestId": logs.result.request_ids[-1]}, as_json=arguments.json)
    return 0


def heartbeat(arguments: argparse.Namespace) -> int:
    """Send a heartbeat."""
    with _connector() as connector:
        print_document({"requestId": connector.heartbeat()}, as_json=arguments.json)
    return 0


def request(arguments: argparse.Namespace) -> int:
    """Print what became of a submission."""
    with _connector() as connector:
        status = connector.request(arguments.id).wait(arguments.wait)
    print_document(status.document, as_json=arguments.json)
    return _STATES.get(status.state, 1)


def _connector() -> Connector:
    return Connector.from_env(heartbeat_seconds=0, call_seconds=_SECONDS)
