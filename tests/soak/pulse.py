"""The latency of a 202 on lanes that no fault of a node hits, beside that in quiet times."""

from __future__ import annotations

import threading
import time
from itertools import count

from tests.soak.fault_context import FaultContext
from tests.soak.payloads import batch_of
from tests.soak.producers import Account, Client

_PAUSE_SECONDS = 0.03


class Pulse(threading.Thread):
    """Submits for one connector without pause, and measures."""

    def __init__(self, account: Account, url: str, context: FaultContext) -> None:
        super().__init__(name=f"pulse-{account.lane}", daemon=True)
        self.account = account
        self._url = url
        self._context = context
        self._client = Client(account, context.tally)
        self._stopping = threading.Event()
        #: Seconds of each 202 in quiet times, and while a fault hits other lanes; and what had another answer then.
        self.quiet: list[float] = []
        self.beside: list[float] = []
        self.refused_beside = 0

    def request_stop(self) -> None:
        """Stop after the current submission."""
        self._stopping.set()

    def run(self) -> None:
        """Measure until told to stop."""
        for counter in count():
            if self._stopping.wait(_PAUSE_SECONDS):
                break
            self._measure(counter)
        self._client.close()

    def _measure(self, counter: int) -> None:
        submission = batch_of("pulse", [("pulse", counter)], packed=False)
        phase, began = self._phase(), time.monotonic()
        answer = self._client.attempt(self._url, submission)
        seconds = time.monotonic() - began
        if answer.request_id:
            self.account.ledger.accept(submission, answer.request_id)
        elif answer.uncertain:
            self.account.ledger.accept_maybe(submission)
        if phase == "" or phase != self._phase():
            return
        if answer.request_id:
            (self.quiet if phase == "quiet" else self.beside).append(seconds)
        else:
            self.refused_beside += phase == "beside"

    def _phase(self) -> str:
        hit = self._context.hit
        if hit is not None:
            return "" if self.account.lane in hit else "beside"
        return "quiet" if self._context.is_calm else ""
