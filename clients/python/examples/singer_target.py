"""A Singer target: `tap-anything | singer_target.py`. Records become items; a state is printed once it is safe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from inspire_ingest import Connector, exit_on_sigterm


def main() -> None:
    """Send the records of standard input; print each state as soon as all records before it are accepted."""
    exit_on_sigterm()
    keys: dict[str, list[str]] = {}
    with Connector.from_env(on_rejected="collect") as connector:
        for line in sys.stdin:
            message = json.loads(line)
            if message["type"] == "SCHEMA":
                keys[message["stream"]] = message["key_properties"]
            elif message["type"] == "RECORD":
                put(connector, message["stream"], keys[message["stream"]], message["record"])
            elif message["type"] == "STATE":
                flush(connector, keys)
                print(json.dumps(message["value"]), flush=True)
        flush(connector, keys)
        for stream in keys:
            for rejected in connector.stream(stream).result.rejected:
                print(f"{stream}: {rejected.row}: {rejected.message}", file=sys.stderr)


def put(connector: Connector, stream: str, keys: list[str], record: dict[str, Any]) -> None:
    """Put a record, or delete it if the tap says that it is gone."""
    if not keys:
        sys.exit(f"The stream {stream} has no key_properties: choose a replication with a primary key in the tap.")
    item_id = ":".join(str(record[key]) for key in keys)
    if record.get("_sdc_deleted_at"):
        connector.stream(stream).delete(item_id)
        return
    nested = {name: json.dumps(value) for name, value in record.items() if isinstance(value, (dict, list))}
    connector.stream(stream).put(item_id, fields={**record, **nested})


def flush(connector: Connector, streams: Iterable[str]) -> None:
    """Wait until all records that were put are accepted."""
    for stream in streams:
        connector.stream(stream).flush(wait="accepted")


if __name__ == "__main__":
    main()
