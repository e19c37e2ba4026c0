"""Use a service by a generated client: `use_service.py CLIENT URL CREDENTIAL`. Prints its answers as JSON lines."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_parsing = import_module("parse_examples")  # beside this file, which runs in an environment of its own

ITEMS = {"stream": "agents", "items": [{"id": "1", "name": "Ann", "fields": {"n": 1, "none": None}}, {"id": "2"}]}
ENTRY = {"level": "info", "message": "hello", "timestamp": "2026-01-02T03:04:05Z", "context": {"n": 1}}


def main(folder: Path, url: str, credential: str) -> None:
    """Call each operation, the first one twice."""
    sys.path.insert(0, str(folder.parent))

    def ask(name: str, operation: str, body: Any = None, key: str = credential, **arguments: Any) -> Any:
        tag, _, function = operation.partition(".")
        call = import_module(f"{folder.name}.api.{tag}.{_parsing.snake(function)}").sync_detailed
        given = {} if body is None else {"body": _parsing.body_class(call).from_dict(body)}
        opened = import_module(f"{folder.name}.client").AuthenticatedClient(base_url=url, token=key)
        with opened as client:
            answer = call(client=client, **given, **arguments)
        sys.stdout.write(f"{json.dumps([name, answer.status_code, answer.parsed.to_dict()])}\n")
        return answer.parsed

    accepted = ask("ingestItems", "data.ingestItems", ITEMS, idempotency_key="python")
    ask("repeated", "data.ingestItems", ITEMS, idempotency_key="python")
    ask("getRequestStatus", "data.getRequestStatus", request_id=accepted.request_id, wait=10)
    ask("ingestRetain", "data.ingestRetain", {"stream": "agents", "ids": ["1"], "atMost": 1})
    ask("ingestLog", "data.ingestLog", {"entries": [ENTRY]})
    ask("heartbeat", "data.heartbeat")
    ask("publishConfiguration", "management.publishConfiguration", {"configuration": '{"poll":60}'})
    ask("getConfiguration", "management.getConfiguration")
    ask("refused", "data.ingestItems", {"stream": "agents", "items": [{"id": ""}]})
    ask("unauthorized", "data.ingestItems", ITEMS, key="ik_wrong")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
