"""Connectors under test conditions: they post, note what they were promised, and repeat what got no answer."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import httpx

from tests.system.ledger import Ledger
from tests.system.payloads import HEARTBEAT, HOOKS, STREAMS, ItemKey, Submission, batch_of, log_of, webhook_of

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)
#: Refusals that say nothing about whether the submission was taken: an answer of Redis may have been lost.
_UNSURE_CODES = frozenset({"store_unavailable", "shutting_down", "internal_error"})
_LONGEST_PAUSE_SECONDS = 1.0
_OWN_ITEMS, _SHARED_ITEMS = 12, 3
#: Whoever gave no key sends again what got no answer, as often as not.
_REPEATED = 0.5
_LARGEST_BATCH = 12
_BETWEEN_MEASUREMENTS_SECONDS = 0.05
_LONGEST_MEASUREMENT_SECONDS = 30.0


@dataclass
class Account:
    """A connector: its credential of the moment, and what it is owed."""

    id: int
    name: str
    lane: int
    credential: str
    ledger: Ledger = field(default_factory=Ledger)


class Tally:
    """Counts what came of the attempts, of all producers together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, what: str) -> None:
        """One more."""
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> Counter[str]:
        """Up to now."""
        with self._lock:
            return self._counts.copy()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt came to: taken (`request_id`), surely not taken, or nobody knows (`unsure`)."""

    what: str
    request_id: str = ""
    unsure: bool = False
    retry_after: float = 0.0


class Line:
    """One client's connections to all API processes."""

    def __init__(self, account: Account, tally: Tally) -> None:
        self._account = account
        self._tally = tally
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False)

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def attempt(self, url: str, submission: Submission, key: str = "") -> Answer:
        """One attempt, counted."""
        answer = self._attempt(url, submission, key)
        self._tally.add(answer.what)
        return answer

    def _attempt(self, url: str, submission: Submission, key: str) -> Answer:
        headers = {**submission.headers, "Authorization": f"Bearer {self._account.credential}"}
        if key:
            headers["Idempotency-Key"] = key
        try:
            told = self._client.post(f"{url}{submission.path}", content=submission.body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Answer("not connected")
        except httpx.TransportError:
            return Answer("no answer", unsure=True)
        if told.status_code == httpx.codes.ACCEPTED:
            replayed = told.headers.get("Idempotent-Replayed") == "true"
            return Answer("replayed" if replayed else "accepted", told.json()["requestId"])
        code = told.json()["error"]["code"]
        return Answer(
            f"{told.status_code} {code}",
            unsure=code in _UNSURE_CODES,
            retry_after=float(told.headers.get("Retry-After", 0)),
        )


class Producer(threading.Thread):
    """Sends one submission after the other. Of an item that is its own, a higher counter is a newer state."""

    def __init__(self, number: int, of: int, account: Account, *, urls: list[str], tally: Tally, pause: float,
                 seed: object) -> None:  # fmt: skip
        super().__init__(name=f"producer-{number}", daemon=True)
        self.account = account
        self._dice = random.Random(f"{seed}/{number}")
        self._urls = urls
        self._line = Line(account, tally)
        self._tally = tally
        self._pause = pause
        # Distinct from everybody else's: an item that two share has no state that both send.
        self._counters = count(number, of)
        self._own = {(stream, f"{self.name}-{item}"): -1 for stream in STREAMS for item in range(_OWN_ITEMS)}
        self._shared = [(stream, f"shared-{item}") for stream in STREAMS for item in range(_SHARED_ITEMS)]
        self._logs, self._keys = count(), count()
        self._stop_asked = threading.Event()
        self._give_up = threading.Event()
        self.fault: BaseException | None = None

    def ask_to_stop(self) -> None:
        """The submission under way is the last one."""
        self._stop_asked.set()

    def give_up(self) -> None:
        """Not even that one is waited for."""
        self._give_up.set()

    def run(self) -> None:
        """Until told to stop."""
        try:
            while not self._stop_asked.is_set():
                self._deliver(self._next(), self._new_key() if self._dice.random() < 0.4 else "")
                self._stop_asked.wait(self._dice.expovariate(1 / self._pause))
        except BaseException as fault:  # noqa: BLE001 - told by whoever waits for this thread
            self.fault = fault
        finally:
            self._line.close()

    def _new_key(self) -> str:
        return f"{self.name}-{next(self._keys)}"

    def _next(self) -> Submission:
        kind = self._dice.random()
        if kind < 0.05:
            return HEARTBEAT
        if kind < 0.25:
            return log_of(self.name, next(self._logs), packed=self._dice.random() < 0.3)
        stream = self._dice.choice(STREAMS)
        if stream == HOOKS:
            return webhook_of(*self._state(self._key(stream)))
        states = [self._state(self._key(stream)) for _ in range(self._dice.randrange(1, _LARGEST_BATCH))]
        if self._dice.random() < 0.2:
            states.append(self._state((stream, states[0][0])))
        return batch_of(stream, states, packed=self._dice.random() < 0.3)

    def _key(self, stream: str) -> ItemKey:
        if self._dice.random() < 0.1:
            return self._dice.choice([key for key in self._shared if key[0] == stream])
        return self._dice.choice([key for key in self._own if key[0] == stream])

    def _state(self, key: ItemKey) -> tuple[str, int]:
        """The item's id with a new state, or with the one that it was given last."""
        last = self._own.get(key, -1)
        counter = last if last >= 0 and self._dice.random() < 0.2 else next(self._counters)
        if key in self._own:
            self._own[key] = counter
        return key[1], counter

    def _deliver(self, submission: Submission, key: str) -> None:
        """Sends it until it is accepted; without a key it may be left at an attempt of which nothing was heard."""
        unsure = False
        while not self._give_up.is_set():
            answer = self._line.attempt(self._dice.choice(self._urls), submission, key)
            if answer.request_id:
                self._accepted(submission, key, answer)
                return
            if answer.unsure and not key:
                self.account.ledger.doubt(submission)
                if self._dice.random() > _REPEATED:
                    return
            unsure = unsure or answer.unsure
            pause = min(answer.retry_after or 0.1, _LONGEST_PAUSE_SECONDS)
            self._give_up.wait(pause * self._dice.uniform(0.2, 1.0))
        if unsure and key:
            self.account.ledger.doubt(submission)

    def _accepted(self, submission: Submission, key: str, answer: Answer) -> None:
        self.account.ledger.accept(submission, answer.request_id)
        if key and self._dice.random() < 0.1:
            again = self._line.attempt(self._dice.choice(self._urls), submission, key)
            if again.request_id and (again.request_id, again.what) != (answer.request_id, "replayed"):
                self._tally.add("taken twice under one key")


class Prober(threading.Thread):
    """Measures, while nothing is broken, the time from a 202 until what was accepted can be read in Postgres."""

    def __init__(self, account: Account, url: str, tally: Tally, applied: Callable[[int, int], bool]) -> None:
        super().__init__(name="prober", daemon=True)
        self._account = account
        self._url = url
        self._line = Line(account, tally)
        self._applied = applied
        self._stop_asked = threading.Event()
        self._calm = threading.Event()
        self._measuring = threading.Lock()
        #: Seconds of each measurement: bounded, since an hour holds some ten thousand.
        self.seconds: list[float] = []

    def go_on(self) -> None:
        """Nothing is broken from now on."""
        self._calm.set()

    def pause(self) -> None:
        """Something will be broken; returns once the measurement at hand is taken, however long that takes."""
        self._calm.clear()
        with self._measuring:
            pass

    def ask_to_stop(self) -> None:
        """No further measurement."""
        self._stop_asked.set()
        self._calm.set()

    def run(self) -> None:
        """Until told to stop."""
        for counter in count():
            self._calm.wait()
            with self._measuring:
                if self._stop_asked.is_set():
                    break
                if self._calm.is_set():
                    self._measure(batch_of("probes", [("probe", counter)], packed=False))
            self._stop_asked.wait(_BETWEEN_MEASUREMENTS_SECONDS)
        self._line.close()

    def _measure(self, submission: Submission) -> None:
        answer = self._line.attempt(self._url, submission)
        accepted = time.monotonic()
        if not answer.request_id:
            if answer.unsure:
                self._account.ledger.doubt(submission)
            return
        self._account.ledger.accept(submission, answer.request_id)
        version = int(self._account.ledger.versions[-1])
        while time.monotonic() < accepted + _LONGEST_MEASUREMENT_SECONDS:
            if self._applied(self._account.id, version):
                self.seconds.append(time.monotonic() - accepted)
                return
            time.sleep(0.001)
