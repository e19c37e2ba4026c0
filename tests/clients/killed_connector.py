"""A connector that is killed: puts numbered rows into an outbox, printing each number that is on disk."""

from __future__ import annotations

import sys

from inspire_ingest import Connector

if __name__ == "__main__":
    url, outbox, first = sys.argv[1:]
    connector = Connector(url, "ik_test", outbox=outbox, batch_items=5, heartbeat_seconds=0, on_rejected="skip")
    numbers = connector.stream("numbers")
    number = int(first)
    while True:
        numbers.put(number, fields={"bad": 1} if number % 40 == 3 else {})
        number += 1
        if number % 3 == 0:
            numbers.flush()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
