"""What a connector decides, without threads, an event loop or a network: both shells run these generators."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Callable

from .batches import ITEMS, LOG, LOG_LANE, RETAIN, Batch, new_batch
from .calls import status
from .delivery import Steps, Wait
from .encoding import Encoder
from .errors import Closed, CredentialRefused, Dead, IngestError, NotNow, NotSent, OutboxFailed, OutboxFull, Refused
from .exchange import Answer, refusal
from .lanes import Lane
from .options import Options
from .outbox import Outbox
from .results import Unsent

#: Share of the outbox that log entries may take; beyond it they are dropped, so that they never displace items.
LOG_SHARE = 0.1


class Core:
    """The state of a connector. Shells hold their lock whenever they run anything of it."""

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.options = options
        self.clock = clock
        self.chance = chance
        self.encoder = Encoder(options.convert)
        self.outbox = Outbox(options.outbox, options.max_bytes)
        self.lanes: dict[str, Lane] = {}
        self.error: IngestError | None = None
        self.accepted_at = float("-inf")
        self.closing = self.stopping = False
        self._unsent: Unsent | None = None
        self.dropped_entries = 0
        #: Grows with each change that a step may wait for.
        self.changes = 0
        for name in self.outbox.lanes():
            self.lane(name)

    def lane(self, name: str) -> Lane:
        """Return the lane of a stream."""
        return self.lanes.setdefault(name, Lane(name, self.options))

    def changed(self) -> None:
        """Note a change, so that the shell wakes what waits."""
        self.changes += 1

    def error_of(self, lane: Lane) -> IngestError | None:
        """Return what stopped a lane."""
        return self.error or lane.error

    def check(self, lane: Lane) -> None:
        """Raise what stopped a lane, or Closed."""
        error = self.error_of(lane)
        if error:
            raise error.with_traceback(None)
        if self.closing:
            raise Closed

    def stop(self, error: IngestError, lane: Lane | None = None) -> None:
        """Stop a lane by an error; a refused credential, and an error of no lane, stop all."""
        if lane is None or isinstance(error, CredentialRefused):
            self.error = self.error or error
        else:
            lane.error = error
        self.changed()

    def fail(self, error: Exception) -> None:
        """Stop all by an error that was not expected, or by one of the outbox."""
        if not isinstance(error, IngestError):
            error = IngestError(f"The connector stopped by an error of its own: {error!r}.")
        self.stop(error)

    def refused(self, answer: Answer) -> Refused:
        """Return the error of a refusal; a refused credential stops the connector."""
        error = refusal(answer)
        if isinstance(error, CredentialRefused):
            self.stop(error)
        return error

    def add(self, lane: Lane, row: bytes) -> bool:
        """Add a row if the present batch takes it; return whether it did."""
        self.check(lane)
        if not lane.fits(row):
            return False
        if lane.add(row, self.clock()):
            self.changed()
        return True

    def put(self, lane: Lane, row: bytes) -> Steps[None]:
        """Add a row as soon as there is room."""
        yield from self._room(lane, lambda: lane.fits(row) or self.seal(lane))
        if lane.add(row, self.clock()):
            self.changed()

    def retain(self, lane: Lane, ids: Iterable[bytes], at_most: int | None) -> Steps[None]:
        """Append a retain behind all rows of its stream."""
        batch = new_batch(RETAIN, lane.name, ids, at_most)
        yield from self._room(lane, lambda: self.seal(lane) and self._append(batch))

    def log(self, row: bytes) -> Steps[None]:
        """Add a log entry, or drop it if there is no room, without waiting."""
        lane = self.lane(LOG_LANE)
        if self.closing or self.error_of(lane) or not (lane.fits(row) or self._is_sealed(lane)):
            self.dropped_entries += 1
        else:
            self.add(lane, row)
        yield from ()

    def seal(self, lane: Lane) -> bool:
        """Put the rows of a lane into the outbox, as a batch; return whether there was room."""
        if lane.rows:
            batch = new_batch(LOG if lane.name == LOG_LANE else ITEMS, lane.name, lane.rows)
            if not self._append(batch):
                return False
            lane.clear()
        return True

    def _append(self, batch: Batch) -> bool:
        share = LOG_SHARE if batch.kind == LOG else 1.0
        if not self.outbox.has_room(batch.lane, len(batch.rows), share):
            return False
        self.outbox.append(batch)
        self.changed()
        return True

    def _room(self, lane: Lane, is_done: Callable[[], bool]) -> Steps[None]:
        seconds = self.options.room_seconds
        until = None if seconds is None else self.clock() + seconds
        while True:
            self.check(lane)
            if is_done():
                return
            left = None if until is None else until - self.clock()
            if left is not None and left <= 0:
                message = (
                    f"The outbox has no room: {self.options.max_bytes} bytes wait. Slow down, or raise outbox_bytes."
                )
                raise OutboxFull(message)
            yield Wait(left)

    def flush(self, lane: Lane, wait: str | None, seconds: float | None) -> Steps[None]:
        """Bring all rows of a lane to disk, or until they are accepted or applied; raise what was rejected."""
        until = None if seconds is None else self.clock() + seconds
        yield from self._room(lane, lambda: self.seal(lane))
        last = self.outbox.last
        while wait or not self.outbox.on_disk:
            first = self.outbox.first_number(lane.name)
            if first is None or first > last:
                break
            self.check(lane)
            yield Wait(self._left(until, lane))
        if wait == "applied":
            yield from self._confirm(lane, until)
        lane.raise_rejected()

    def _left(self, until: float | None, lane: Lane) -> float | None:
        left = None if until is None else until - self.clock()
        if left is not None and left <= 0:
            message = f"Stream {lane.name} was not flushed in time; its rows still wait. Flush again later."
            raise NotNow(message)
        return left

    def _confirm(self, lane: Lane, until: float | None) -> Steps[None]:
        """Wait for the end of all accepted batches. The last first: those before it are final then, or nearly."""
        for request_id in [*lane.unconfirmed][::-1]:
            found = None
            while not (found and found.is_final):
                found = yield from status(self, request_id, self._left(until, lane))
            with suppress(ValueError):  # a thousand later ones have replaced it
                lane.unconfirmed.remove(request_id)
            if found.state == "dead":
                message = f"Request {request_id} can't be applied: {found.reason}. An operator can retry or drop it."
                raise Dead(message, request_id, found.reason)

    def close(self, seconds: float) -> Steps[None]:
        """Send what waits, for at most so many seconds, then stop."""
        if self._unsent is not None:
            return
        until = self.clock() + seconds
        self.closing = True
        self.changed()
        for lane in [*self.lanes.values()]:
            while not self._is_sealed(lane) and not self.error_of(lane) and self.clock() < until:
                yield Wait(until - self.clock())
        while self._is_sending() and self.clock() < until:
            yield Wait(until - self.clock())
        self.stopping = True
        self.changed()

    def _is_sealed(self, lane: Lane) -> bool:
        try:
            return self.seal(lane)
        except OutboxFailed as error:
            self.stop(error)
            return False

    def _is_sending(self) -> bool:
        return any(self.lanes[name].error is None for name in self.outbox.lanes()) and not self.error

    def finish(self) -> Unsent:
        """Let go of the outbox; return what was not sent."""
        if self._unsent is not None:
            return self._unsent
        items, batches = self.outbox.totals()
        open_rows = [row for lane in self.lanes.values() for row in lane.rows]
        kept = [] if self.outbox.on_disk else [row for batch in self.outbox.all() for row in batch.decoded()]
        self.outbox.close()
        rows = kept + [json.loads(row) for row in open_rows]
        self._unsent = Unsent(items + len(open_rows), batches, self.outbox.on_disk and not open_rows, rows)
        return self._unsent

    def raise_untold(self, unsent: Unsent) -> None:
        """Raise what the author of a connector has to know at its end."""
        for error in [self.error, *(lane.error for lane in self.lanes.values())]:
            if error:
                raise error.with_traceback(None)
        if unsent and not unsent.on_disk:
            raise NotSent(unsent)
        for lane in self.lanes.values():
            lane.raise_rejected()
