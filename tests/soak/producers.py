"""Producers: they submit for a connector, record what was accepted, and repeat what got no answer."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import httpx

from tests.soak.ledger import Ledger
from tests.soak.payloads import (
    HEARTBEAT,
    HOOKS,
    ROSTER_IDS,
    STREAMS,
    ItemKey,
    Submission,
    batch_of,
    deletion,
    log_of,
    retain_of,
    webhook_of,
)
from tests.support.client import NO_TLS
from tests.support.signing import Hook

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)
#: Refusals that leave open whether the submission was accepted: a reply of Redis may have been lost.
_UNCERTAIN_CODES = frozenset({"store_unavailable", "shutting_down", "internal_error"})
#: Maximum pause in seconds before an attempt is repeated.
_MAX_PAUSE_SECONDS = 1.0
_OWN_ITEMS, _SHARED_ITEMS = 12, 3
#: Probability that a submission without a key is repeated after an attempt without an answer.
_REPEATED = 0.5
#: Probabilities that a submission has a key, and that a webhook is signed, which always has one.
_WITH_KEY, _SIGNED = 0.4, 0.5
_LARGEST_BATCH = 12


@dataclass
class Account:
    """A connector: its current credential, and what it is owed."""

    id: int
    name: str
    lane: int
    credential: str
    ledger: Ledger = field(default_factory=Ledger)
    hook: Hook | None = None


class Tally:
    """Counts the results of the attempts of all clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, what: str) -> None:
        """Count one result."""
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> Counter[str]:
        """Return the counts so far."""
        with self._lock:
            return self._counts.copy()


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt: accepted (`request_id`), certainly not accepted, or `uncertain`."""

    what: str
    request_id: str = ""
    uncertain: bool = False
    retry_after: float = 0.0


class Client:
    """An HTTP client of a connector, with connections to all API processes."""

    def __init__(self, account: Account, tally: Tally) -> None:
        self._account = account
        self._tally = tally
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False, verify=NO_TLS)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def attempt(self, url: str, submission: Submission, key: str = "") -> Answer:
        """Make one attempt, and count its result."""
        answer = self._attempt(url, submission, key)
        self._tally.add(answer.what)
        return answer

    def _attempt(self, url: str, submission: Submission, key: str) -> Answer:
        path, headers = self._addressed(submission, key)
        try:
            response = self._client.post(f"{url}{path}", content=submission.body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Answer("not connected")
        except httpx.TransportError:
            return Answer("no answer", uncertain=True)
        if response.status_code == httpx.codes.ACCEPTED:
            replayed = response.headers.get("Idempotent-Replayed") == "true"
            return Answer("replayed" if replayed else "accepted", response.json()["requestId"])
        code = response.json()["error"]["code"]
        return Answer(
            f"{response.status_code} {code}",
            uncertain=code in _UNCERTAIN_CODES,
            retry_after=float(response.headers.get("Retry-After", 0)),
        )

    def _addressed(self, submission: Submission, key: str) -> tuple[str, dict[str, str]]:
        """Return path and headers: of a delivery to the hook, if the submission is signed."""
        if submission.signed and self._account.hook:
            return self._account.hook.path, self._account.hook.headers(submission.body, delivery=key)
        headers = {**submission.headers, "Authorization": f"Bearer {self._account.credential}"}
        return submission.path, headers | ({"Idempotency-Key": key} if key else {})


class Producer(threading.Thread):
    """Sends one submission after the other. A higher counter is a newer state of an item that only it sends."""

    def __init__(self, number: int, of: int, account: Account, *, urls: list[str], tally: Tally, pause: float,
                 seed: object) -> None:  # fmt: skip
        super().__init__(name=f"producer-{number}", daemon=True)
        self.account = account
        self._dice = random.Random(f"{seed}/{number}")
        self._urls = urls
        self._client = Client(account, tally)
        self._pause = pause
        # Distinct among the producers: no state of a shared item is sent by two of them.
        self._counters = count(number, of)
        self._own = {(stream, f"{self.name}-{item}"): -1 for stream in STREAMS for item in range(_OWN_ITEMS)}
        self._shared = [(stream, f"shared-{item}") for stream in STREAMS for item in range(_SHARED_ITEMS)]
        #: Only this producer sends to its roster, so that it knows what there is; it uses some of the ids at a time.
        self._roster = f"roster:{self.name}"
        self._unused = [(self._roster, f"{self.name}-{item}") for item in range(ROSTER_IDS)]
        self._own |= {self._unused.pop(): -1 for _ in range(_OWN_ITEMS)}
        self._logs, self._keys = count(), count()
        self._stopping = threading.Event()
        self._give_up = threading.Event()
        self.error: BaseException | None = None

    def request_stop(self) -> None:
        """Stop after the current submission."""
        self._stopping.set()

    def give_up(self) -> None:
        """Stop repeating the current submission too."""
        self._give_up.set()

    def run(self) -> None:
        """Submit until told to stop."""
        try:
            while not self._stopping.is_set():
                submission = self._next()
                has_key = submission.signed or self._dice.random() < _WITH_KEY
                self._deliver(submission, self._new_key() if has_key else "")
                self._stopping.wait(self._dice.expovariate(1 / self._pause))
        except BaseException as error:  # noqa: BLE001 - reported by the soak
            self.error = error
        finally:
            self._client.close()

    def _new_key(self) -> str:
        return f"{self.name}-{next(self._keys)}"

    def _next(self) -> Submission:
        kind = self._dice.random()
        if kind < 0.05:
            return HEARTBEAT
        if kind < 0.25:
            return log_of(self.name, next(self._logs), packed=self._dice.random() < 0.3)
        if kind < 0.33:
            return self._retain()
        stream = self._dice.choice((*STREAMS, self._roster))
        if stream == HOOKS:
            signed = self.account.hook is not None and self._dice.random() < _SIGNED
            return webhook_of(*self._state(self._key(stream)), signed=signed)
        states = [self._state(self._key(stream)) for _ in range(self._dice.randrange(1, _LARGEST_BATCH))]
        first = stream, states[0][0]
        if self._dice.random() < 0.2 and (first in self._own or first in self._shared):
            states.append(self._state(first))
        return batch_of(stream, states, packed=self._dice.random() < 0.3)

    def _retain(self) -> Submission:
        there = [key for key in self._own if key[0] == self._roster]
        gone = {key: self._remove(key) for key in self._dice.sample(there, self._dice.randrange(3))}
        kept = [key for key in (*there, *self._unused) if key not in gone]
        return retain_of(self._roster, [name for _, name in kept], gone, bounded=self._dice.random() < 0.5)

    def _remove(self, key: ItemKey) -> int:
        """Delete an item, sometimes for good: another one takes its place."""
        self._own[key] = -1
        if key[0] == self._roster and self._unused and self._dice.random() < 0.3:
            del self._own[key]
            self.account.ledger.retire(key)
            self._own[self._unused.pop()] = -1
        return deletion(next(self._counters))

    def _key(self, stream: str) -> ItemKey:
        if stream != self._roster and self._dice.random() < 0.1:
            return self._dice.choice([key for key in self._shared if key[0] == stream])
        return self._dice.choice([key for key in self._own if key[0] == stream])

    def _state(self, key: ItemKey) -> tuple[str, int]:
        """Return the item's id with a new state, or with its last one, or with the number of a deletion."""
        if key in self._own and key[0] != HOOKS and self._dice.random() < 0.1:
            return key[1], self._remove(key)
        last = self._own.get(key, -1)
        counter = last if last >= 0 and self._dice.random() < 0.2 else next(self._counters)
        if key in self._own:
            self._own[key] = counter
        return key[1], counter

    def _deliver(self, submission: Submission, key: str) -> None:
        """Send until accepted; without a key an attempt that got no answer may be the last one."""
        uncertain = False
        while not self._give_up.is_set():
            answer = self._client.attempt(self._dice.choice(self._urls), submission, key)
            if answer.request_id:
                self._record(submission, key, answer)
                return
            if answer.uncertain and (not key or self.account.ledger.is_in_doubt):
                self.account.ledger.accept_maybe(submission)
            if answer.uncertain and not key and self._dice.random() > _REPEATED:
                return
            uncertain = uncertain or answer.uncertain
            pause = min(answer.retry_after or 0.1, _MAX_PAUSE_SECONDS)
            self._give_up.wait(pause * self._dice.uniform(0.2, 1.0))
        if uncertain and key:
            self.account.ledger.accept_maybe(submission)

    def _record(self, submission: Submission, key: str, answer: Answer) -> None:
        ledger = self.account.ledger
        ledger.accept(submission, answer.request_id)
        if key and self._dice.random() < 0.1:
            again = self._client.attempt(self._dice.choice(self._urls), submission, key)
            if again.request_id and (again.request_id, again.what) != (answer.request_id, "replayed"):
                ledger.accepted_again += not ledger.is_in_doubt
                ledger.accept(submission, again.request_id)
