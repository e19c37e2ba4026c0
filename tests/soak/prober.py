"""The latency from a 202 to the stored submission, measured between faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count

from tests.soak.payloads import Submission, batch_of
from tests.soak.producers import Account, Client, Tally

_PAUSE_SECONDS = 0.05
#: Time in seconds after which a measurement is given up.
_MAX_SECONDS = 30.0


class Prober(threading.Thread):
    """Measures the time from a 202 until the submission can be read in Postgres, while no fault is injected."""

    def __init__(self, account: Account, url: str, tally: Tally, applied: Callable[[int, int], bool]) -> None:
        super().__init__(name="prober", daemon=True)
        self._account = account
        self._url = url
        self._client = Client(account, tally)
        self._applied = applied
        self._stopping = threading.Event()
        self._calm = threading.Event()
        self._measuring = threading.Lock()
        #: Seconds of each measurement.
        self.seconds: list[float] = []

    def go_on(self) -> None:
        """Start measuring: no fault is injected from now on."""
        self._calm.set()

    def pause(self) -> None:
        """Stop measuring; return when the current measurement has ended."""
        self._calm.clear()
        with self._measuring:
            pass

    def request_stop(self) -> None:
        """Stop after the current measurement."""
        self._stopping.set()
        self._calm.set()

    def run(self) -> None:
        """Measure until told to stop."""
        for counter in count():
            self._calm.wait()
            with self._measuring:
                if self._stopping.is_set():
                    break
                if self._calm.is_set():
                    self._measure(batch_of("probes", [("probe", counter)], packed=False))
            self._stopping.wait(_PAUSE_SECONDS)
        self._client.close()

    def _measure(self, submission: Submission) -> None:
        answer = self._client.attempt(self._url, submission)
        accepted = time.monotonic()
        if not answer.request_id:
            if answer.uncertain:
                self._account.ledger.accept_maybe(submission)
            return
        self._account.ledger.accept(submission, answer.request_id)
        version = int(self._account.ledger.versions[-1])
        while time.monotonic() < accepted + _MAX_SECONDS:
            if self._applied(self._account.id, version):
                self.seconds.append(time.monotonic() - accepted)
                return
            time.sleep(0.001)
