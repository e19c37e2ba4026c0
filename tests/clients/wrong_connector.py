"""A connector in the standard library alone, that keeps all rules of `inspire conform` but the one that it names."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

URL, KEY = os.environ["INSPIRE_BASE_URL"], os.environ["INSPIRE_INGEST_KEY"]
SECONDS = float(os.environ["INSPIRE_CONFORM_SECONDS"])
GATHER_SECONDS = 0.6
BROKEN = sys.argv[1] if sys.argv[1:] else ""

rows: SimpleQueue[dict[str, Any]] = SimpleQueue()
ending = threading.Event()


def send(method: str, path: str, document: Any, key: str = "") -> tuple[int, float, dict[str, Any]]:
    """Return status, Retry-After and what a refusal says; status 0 if there was no answer."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    headers |= {"Idempotency-Key": key} if key else {}
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)  # noqa: S310 - the emulator's address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - of the emulator
            return answer.status, 0.0, {}
    except urllib.error.HTTPError as refused:
        with refused:
            if refused.code == 401 and BROKEN != "stop-401":
                os._exit(1)
            return refused.code, float(refused.headers.get("Retry-After", 0)), json.load(refused)["error"]
    except OSError:
        return 0, 0.0, {}


def deliver(batch: list[dict[str, Any]]) -> None:
    """Send a batch until it is accepted or given up."""
    key = uuid.uuid4().hex
    while batch:
        status, seconds, error = send("POST", "/api/ingest", {"stream": "conform", "items": batch}, key)
        if status == 202:
            return
        if status == 413 and BROKEN != "split-413" and len(batch) > 1:
            deliver(batch[: len(batch) // 2])
            deliver(batch[len(batch) // 2 :])
            return
        if status == 413 or (status == 409 and BROKEN == "bad-row"):
            return
        if status == 409:
            bad = {int(fault["path"].split("[")[1].split("]")[0]) for fault in error["faults"]}
            batch = [row for index, row in enumerate(batch) if index not in bad]
            key = uuid.uuid4().hex
        elif (status == 503 and BROKEN == "same-key") or (status == 0 and BROKEN == "lost-answer"):
            key = uuid.uuid4().hex
        time.sleep(0.1 if BROKEN == "retry-after" else seconds or 0.1)


def gathered() -> list[dict[str, Any]]:
    """Wait for a row; return all that come within a moment after it."""
    try:
        batch = [rows.get(timeout=0.05)]
    except Empty:
        return []
    ending.wait(GATHER_SECONDS)
    while not rows.empty():
        batch.append(rows.get())
    return batch


def read() -> None:
    """Read the rows."""
    for line in sys.stdin:
        rows.put(json.loads(line))


def repeat(method: str, path: str, document: Any) -> None:
    """Send the same again and again."""
    while not ending.wait(SECONDS):
        send(method, path, document)


def end(_number: int, _frame: FrameType | None) -> None:
    """End, after all rows are sent."""
    if BROKEN == "sigterm":
        os._exit(0)
    ending.set()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    threads = [threading.Thread(target=read, daemon=True)]
    if BROKEN != "heartbeats":
        threads.append(threading.Thread(target=repeat, args=["POST", "/api/ingest/heartbeat", {}], daemon=True))
    if BROKEN != "configuration-again":
        threads.append(threading.Thread(target=repeat, args=["GET", "/api/connector/config", None], daemon=True))
    for thread in threads:
        thread.start()
    while not (ending.is_set() and rows.empty()):
        deliver(gathered())
