"""Send a CSV file as the items of a stream as a loop by hand does: `loop.py FILE`."""  # noqa: INP001 - a script

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
import time
import uuid
from pathlib import Path

import httpx

with Path(sys.argv[1]).open(newline="") as lines, httpx.Client(base_url=os.environ["INSPIRE_BASE_URL"]) as client:
    headers = {"Authorization": f"Bearer {os.environ['INSPIRE_INGEST_KEY']}", "Content-Type": "application/json"}
    rows = csv.DictReader(lines)
    while batch := [*itertools.islice(rows, 1_000)]:
        items = [{"id": row.pop("id"), "name": row.pop("name"), "fields": row} for row in batch]
        body = json.dumps({"stream": "agents", "items": items}).encode()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        while (answer := client.post("/api/ingest", content=body, headers=headers | key)).status_code in {429, 503}:
            time.sleep(1)
        answer.raise_for_status()
