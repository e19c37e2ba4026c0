"""The connector that `inspire conform` judges: reads rows from its standard input, one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress

from inspire_ingest import Connector, CredentialRefused, exit_on_sigterm

SECONDS = float(os.environ["INSPIRE_CONFORM_SECONDS"])


def read_configuration(connector: Connector, ended: threading.Event) -> None:
    """Read the configuration again and again."""
    with suppress(CredentialRefused):
        while not ended.wait(SECONDS):
            connector.config()


def main() -> None:
    """Send each row as it comes."""
    exit_on_sigterm()
    ended = threading.Event()
    with Connector.from_env(heartbeat_seconds=SECONDS, on_rejected="skip") as connector:
        threading.Thread(target=read_configuration, args=[connector, ended], daemon=True).start()
        rows = connector.stream("conform")
        try:
            for line in sys.stdin:
                rows.put(**json.loads(line))
        finally:
            ended.set()


if __name__ == "__main__":
    main()
