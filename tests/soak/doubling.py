"""`python -m tests.soak.doubling`: the lanes are doubled, by a command that is killed, while many connectors submit.

Each connector sends numbers, one after the other, with an idempotency key, half of them to an API process that no other
one shares, and repeats an answer of 503 until it is accepted. Now and then it repeats a number that was accepted. In
the end no number may be missing, doubled or out of order, in any table, and a repeat must have had the first id.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.soak.ledger import version_of
from tests.support.client import JSON, Connector, batch, item
from tests.support.processes import environment
from tests.support.request_ids import lane_of
from tests.support.stack import Stack, running

#: Pause of a connector between two numbers, and after an answer of 503, in seconds.
_PAUSE, _AGAIN = 0.2, 0.02
#: Of so many numbers, one is repeated later.
_REPEATS = 10
#: Time in which all is applied in the end, in seconds.
_GRACE = 120.0


@dataclass
class Sender:
    """One connector, and what it was told."""

    connector: Connector
    accepted: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    #: Longest time from the first refusal of a number to its acceptance, in seconds.
    longest: float = 0.0
    refused: int = 0

    async def send(self, url: str, stop: asyncio.Event) -> None:
        """Send numbers until told to stop; the last one is accepted."""
        chance = random.Random(self.connector.id)
        async with self.connector.connect_async(url) as client:
            while not stop.is_set():
                number = len(self.accepted) + 1
                self.accepted[number] = await self._submit(client, number)
                if chance.randrange(_REPEATS) == 0:
                    earlier = chance.choice(list(self.accepted))
                    again = await self._submit(client, earlier)
                    if again != self.accepted[earlier]:
                        self.faults.append(f"The repeat of {earlier} had another id.")
                await asyncio.sleep(_PAUSE * 2 * chance.random())

    async def _submit(self, client: httpx.AsyncClient, number: int) -> str:
        """Submit a number until it is accepted; return the request id."""
        path, body = ("/api/ingest/log", _log(number)) if number % 2 else ("/api/ingest", batch(item("last", n=number)))
        since = None
        while True:
            answer = await client.post(path, content=body, headers={**JSON, "Idempotency-Key": str(number)})
            if answer.status_code == 202:
                self.longest = max(self.longest, time.monotonic() - since if since else 0.0)
                return str(answer.json()["requestId"])
            if answer.status_code != 503:
                raise RuntimeError(f"{number} was answered {answer.text}")
            self.refused += 1
            since = since or time.monotonic()
            await asyncio.sleep(_AGAIN)


def _log(number: int) -> bytes:
    return json.dumps({"entries": [{"level": "info", "message": str(number)}]}).encode()


def judge(stack: Stack, sender: Sender) -> list[str]:
    """Return what is wrong with what a connector has in Postgres."""
    found = list(sender.faults)
    receipts = stack.rows(
        "SELECT version, lane, applied_at FROM receipts WHERE connector_id = %s ORDER BY version", sender.connector.id
    )
    told = [(version_of(one), lane_of(one)) for one in sender.accepted.values()]
    if told != sorted(told, key=lambda one: one[0]):
        found.append("Numbers were accepted out of order.")
    if told != [(row["version"], row["lane"]) for row in receipts]:
        found.append(f"{len(told)} were accepted, and there are {len(receipts)} receipts, or others.")
    if any(one["applied_at"] > next_one["applied_at"] for one, next_one in pairwise(receipts)):
        found.append("Submissions were applied out of order.")
    logs = stack.rows(
        "SELECT message FROM connector_logs WHERE connector_id = %s ORDER BY version", sender.connector.id
    )
    if [int(row["message"]) for row in logs] != [number for number in sender.accepted if number % 2]:
        found.append("The log entries are not the numbers, in their order.")
    last = stack.fields(sender.connector, "last")
    if last != {"n": str(max((number for number in sender.accepted if not number % 2), default=0))}:
        found.append(f"The item is {last}.")
    return [f"Connector {sender.connector.id}: {one}" for one in found]


class Run:
    """One doubling under load."""

    def __init__(self, stack: Stack, senders: list[Sender], kills: int) -> None:
        self._stack = stack
        self._senders = senders
        self._kills = kills

    async def run(self, seconds: float, urls: list[str]) -> float:
        """Send for some seconds, double the lanes, go on as long; return how long the doubling took."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number, sender in enumerate(self._senders):
                group.create_task(sender.send(urls[number % len(urls)], stop))
            await asyncio.sleep(seconds)
            began = time.monotonic()
            await asyncio.to_thread(self._double)
            took = time.monotonic() - began
            await asyncio.sleep(seconds)
            stop.set()
        return took

    def _double(self) -> None:
        """Run the command, kill it at random moments, and run it to its end."""
        for _ in range(self._kills):
            with self._command() as command, contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(random.uniform(0.3, 1.5))
                command.send_signal(signal.SIGKILL)
        with self._command() as command:
            command.wait(_GRACE)
            if command.returncode:
                raise RuntimeError("The command failed.")

    def _command(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "operations.cli", "lanes", "double"]
        return subprocess.Popen(words, cwd=self._stack.folder, env=environment())


def run(folder: Path, *, connectors: int, seconds: float, kills: int) -> dict[str, Any]:
    """Run it all; return figures, and `faults`."""
    with running(folder, WORKERS=2) as stack, stack.api() as other:
        with ThreadPoolExecutor(4) as executor:
            made = list(executor.map(stack.connector, (f"connector {number}" for number in range(connectors))))
        senders = [Sender(connector) for connector in made]
        before = stack.value("SELECT count(*) FROM lanes")
        took = asyncio.run(Run(stack, senders, kills).run(seconds, [stack.url, other.url]))
        stack.lanes_are_empty(_GRACE)
        faults = [fault for sender in senders for fault in judge(stack, sender)]
        return {
            "lanes": [before, stack.value("SELECT count(*) FROM lanes")],
            "connectors": connectors,
            "moved": stack.value("SELECT count(*) FROM connectors WHERE lane >= %s", before),
            "accepted": sum(len(sender.accepted) for sender in senders),
            "refusedBy503": sum(sender.refused for sender in senders),
            "connectorsRefused": sum(sender.refused > 0 for sender in senders),
            "longest503Seconds": round(max(sender.longest for sender in senders), 2),
            "commandSeconds": round(took, 2),
            "faults": faults,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Double the lanes under load, and check every number.")
    parser.add_argument("--connectors", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="time before the doubling, and after it")
    parser.add_argument("--kills", type=int, default=3, help="times that the command is killed first")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="doubling-") as folder:
        found = run(Path(folder), connectors=given.connectors, seconds=given.seconds, kills=given.kills)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found["faults"] or found["lanes"][1] != 2 * found["lanes"][0] else 0


if __name__ == "__main__":
    sys.exit(main())
