"""A connector that is killed or ended: puts numbered rows into an outbox, printing each number that is on disk."""

from __future__ import annotations

import logging
import os
import sys
import time

from inspire_ingest import Connector, Stream, exit_on_sigterm

#: So small that what waits is sent within seconds after a long outage, and that the outbox is full during one.
OUTBOX_BYTES = 65_536


def put_from(number: int, numbers: Stream, pause: float) -> None:
    """Put numbers for as long as the process lives."""
    while True:
        numbers.put(number, fields={"bad": 1} if number % 40 == 3 else {})
        number += 1
        if number % 3 == 0:
            numbers.flush()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            time.sleep(pause)


if __name__ == "__main__":
    exit_on_sigterm()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    url, outbox, first = sys.argv[1:]
    key = os.environ.get("INSPIRE_INGEST_KEY", "ik_test")
    with Connector(
        url,
        key,
        outbox=outbox,
        outbox_bytes=OUTBOX_BYTES,
        batch_items=5,
        heartbeat_seconds=0,
        on_rejected="skip",
    ) as connector:
        put_from(int(first), connector.stream("numbers"), float(os.environ.get("PAUSE", "0")))
