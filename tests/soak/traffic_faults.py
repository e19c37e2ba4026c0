"""Faults of clients: one posts bodies that are made to be slow, another sends its requests in pieces of any size."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

import httpx

from tests.soak.fault_context import FaultContext, Injection
from tests.soak.payloads import Submission, batch_of
from tests.soak.producers import Account
from tests.support.client import GZIP, NO_TLS

_HOSTILE_THREADS = 4
_INFLATED_BYTES = 30 << 20
#: Status codes with which a body that is made to be slow may be answered.
_REFUSED = frozenset({400, 408, 409, 413, 429, 503})
_TIMEOUT_SECONDS = 60.0
#: Bounds of what one connection sends in pieces, and the longest pause between two pieces, in seconds.
_MAX_PIPELINED, _MAX_CUTS, _MAX_PAUSE_SECONDS = 5, 12, 0.003
_LENGTH = re.compile(rb"^content-length: (\d+)", re.IGNORECASE | re.MULTILINE)
#: A request that no parser may take: it ends the connection.
_INVALID = b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"


@cache
def hostile_bodies() -> list[tuple[str, bytes]]:
    """Return paths and bodies: some kilobytes of gzip each, 30 MB of JSON that takes long to refuse."""
    parts = [
        ("/api/ingest", b'{"stream":"agents","items":[', b"[],"),
        ("/api/ingest", b'{"stream":"agents","items":[{"id":"a","fields":{', b'"a":1,'),
        ("/api/ingest/log", b'{"entries":[{"level":"info","message":"m","context":{', b'"a":1,'),
        ("/api/ingest/heartbeat", b"[", b"1,"),
        ("/api/webhook/hooks", b"", b'{"a":'),
        ("/api/webhook/hooks", b'{"id":"a",', b'"a":1,'),
        ("/api/ingest", b"0", b"0" * 1024),
    ]
    return [(path, gzip.compress(start + part * (_INFLATED_BYTES // len(part)), 1)) for path, start, part in parts]


@contextlib.contextmanager
def hostile_connector(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Let a connector post slow bodies on several connections, while another is accepted as ever."""
    bodies, injection = hostile_bodies(), Injection(context.counts())
    hostile, other = context.accounts[0], context.accounts[-1]
    stop, statuses, slowest = threading.Event(), Counter[int](), 0.0

    def post(seed: float) -> None:
        own = random.Random(seed)
        with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False, verify=NO_TLS) as client:
            while not stop.is_set():
                path, body = own.choice(bodies)
                headers = {**GZIP, "Authorization": f"Bearer {hostile.credential}"}
                with contextlib.suppress(httpx.TransportError):
                    statuses[
                        client.post(own.choice(context.fleet.urls) + path, content=body, headers=headers).status_code
                    ] += 1

    threads = [threading.Thread(target=post, args=(dice.random(),)) for _ in range(_HOSTILE_THREADS)]
    context.mark_broken()
    for thread in threads:
        thread.start()
    try:
        for _ in range(dice.randrange(3, 6)):
            began = time.monotonic()
            context.submit(other, "beside")
            slowest = max(slowest, time.monotonic() - began)
        yield injection
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for status in statuses.keys() - _REFUSED:
        context.unexpected[f"{status} to a body made to be slow"] += statuses[status]
    if statuses:
        injection.evidence.append(f"{statuses.total()} slow bodies; another's post took {slowest:.1f} s at most")


@contextlib.contextmanager
def requests_cut(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Send pipelined requests in pieces, the last one invalid: each is answered for what it is, in order."""
    injection = Injection(context.counts())
    account, pieces = dice.choice(context.accounts), 0
    context.mark_broken()
    for _ in range(dice.randrange(10, 20)):
        submissions = [
            batch_of("agents", [("cut", context.next_number())], packed=dice.random() < 0.5)
            for _ in range(dice.randrange(1, _MAX_PIPELINED))
        ]
        try:
            received, cuts = _send_cut(dice.choice(context.fleet.urls), account, submissions, dice)
        except OSError:  # the API process is being restarted
            for one in submissions:
                account.ledger.accept_maybe(one)
            continue
        pieces += cuts
        _settle(context, account, submissions, list(_answers(received)))
    if pieces:
        injection.evidence.append(f"requests in {pieces} pieces were answered as they are")
    yield injection


def _settle(
    context: FaultContext, account: Account, submissions: list[Submission], answers: list[tuple[int, dict[str, str]]]
) -> None:
    """Record what was accepted; every request must have its answer, and the invalid one a 400."""
    if [status for status, _ in answers][len(submissions) :] != [400]:
        context.unexpected[f"{len(answers)} answers to {len(submissions)} requests and an invalid one"] += 1
    for one, (status, answer) in zip(submissions, answers, strict=False):
        if status == httpx.codes.ACCEPTED:
            account.ledger.accept(one, answer["requestId"])
        else:
            account.ledger.accept_maybe(one)
            if status not in (401, 503):
                context.unexpected[f"{status} to a request in pieces"] += 1
    for one in submissions[len(answers) :]:
        account.ledger.accept_maybe(one)


def _send_cut(url: str, account: Account, submissions: list[Submission], dice: random.Random) -> tuple[bytes, int]:
    """Send requests in pieces; return all that was answered until the connection ended, and the number of pieces."""
    data = b"".join(_request(one, account) for one in submissions) + _INVALID
    cuts = sorted(dice.sample(range(1, len(data)), dice.randrange(1, _MAX_CUTS)))
    address, received = urlsplit(url), b""
    with socket.create_connection((address.hostname, address.port), timeout=_TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            connection.sendall(data[start:end])
            time.sleep(dice.uniform(0, _MAX_PAUSE_SECONDS))
        while chunk := connection.recv(65_536):
            received += chunk
    return received, len(cuts) + 1


def _request(submission: Submission, account: Account) -> bytes:
    headers = {"Host": "soak", "Authorization": f"Bearer {account.credential}", **submission.headers}
    headers["Content-Length"] = str(len(submission.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {submission.path} HTTP/1.1\r\n{head}\r\n".encode() + submission.body


def _answers(received: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield status and document of each answer."""
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length, head
        size = int(length[1])
        yield int(head.split()[1]), json.loads(rest[:size])
        received = rest[size:]
