"""Start components in order, watch them, restart those that end, stop them in order.

There is one thread with one event loop, which polls only during a start: SIGCHLD reports that a child has ended. A
component that ends is restarted after 0.2 s, then 0.4 s, up to 5 s; after half a minute of health the pauses begin at
0.2 s again. The first start differs: a component that can't start ends the run, with its sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Protocol

from operations.local.child import Child, spawn
from operations.local.errors import LocalError

_FIRST_PAUSE_SECONDS: Final = 0.2
_MAX_PAUSE_SECONDS: Final = 5.0
_HEALTHY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_LINE_BYTES: Final = 65536


class StopTurn(enum.IntEnum):
    """The order of shutdown: nothing new is accepted while the workers finish."""

    API = 0
    WORKERS = 1
    ENGINES = 2


#: Deadline of each turn, in seconds since the shutdown began; what still runs then is killed. In all under 5 s.
_STOP_BY_SECONDS: Final = {StopTurn.API: 3.3, StopTurn.WORKERS: 3.9, StopTurn.ENGINES: 4.7}


class Component(Protocol):
    """An engine or a program."""

    @property
    def name(self) -> str:
        """Its name in printed lines."""

    @property
    def child(self) -> Child | None:
        """Its process, or its last one."""

    def starting(self) -> Generator[None]:
        """Start it; yields until it is ready. Raises LocalError."""

    def ask_to_stop(self) -> None:
        """Request a clean shutdown."""

    def clean_up(self) -> None:
        """Remove what it leaves outside the data folder."""


class Supervisor:
    """Watches what it started, until `stop`. Must be created in the running loop, in the main thread."""

    def __init__(self, *, say: Callable[[str], None], output: Callable[[str, str], None]) -> None:
        self._say = say
        self._output = output
        self._turns: dict[StopTurn, list[Component]] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._ends: dict[Child, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._collect_ended)

    async def start(self, *components: Component, stop: StopTurn) -> None:
        """Start them concurrently, and watch them when all are ready. Raises LocalError."""
        self._turns.setdefault(stop, []).extend(components)
        starts = [asyncio.create_task(_drive(component)) for component in components]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
        self._keepers += [asyncio.create_task(self._keep(component)) for component in components]

    async def run_once(self, argv: Sequence[str | Path], environ: Mapping[str, str]) -> tuple[int, str]:
        """Run a command to its end; return its exit status and its output, or its errors if it failed."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = spawn(
                argv, death_signal=signal.SIGKILL, environ=environ, output=output, errors=errors, cwd=Path.cwd()
            )
            try:
                code = await self._end_of(child)
            finally:
                child.kill()
                child.wait()
            printed = errors if code != 0 else output
            printed.seek(0)
            return code, printed.read().decode(errors="replace")

    def listen(self, name: str, output: IO[bytes]) -> None:
        """Print each line of `output` until its end."""
        lines = _Lines(lambda line: self._output(name, line))
        file = output.fileno()
        os.set_blocking(file, False)

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(file, _LINE_BYTES)
                lines.feed(chunk)
                if not chunk:
                    self._loop.remove_reader(file)
                    output.close()

        self._loop.add_reader(file, read)

    async def stop(self) -> None:
        """Stop everything, one turn after the other; kill what still runs at its deadline."""
        began = time.monotonic()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for turn, components in sorted(self._turns.items()):
            for component in components:
                component.ask_to_stop()
            ends = [
                asyncio.ensure_future(self._end_of(component.child))
                for component in components
                if component.child is not None
            ]
            if ends:
                await asyncio.wait(ends, timeout=max(0.0, began + _STOP_BY_SECONDS[turn] - time.monotonic()))
            for component in components:
                self._kill_if_running(component)

    def kill(self) -> None:
        """Kill everything."""
        for components in self._turns.values():
            for component in components:
                if component.child is not None:
                    component.child.kill()

    def _kill_if_running(self, component: Component) -> None:
        child = component.child
        if child is not None and child.ended() is None:
            self._say(f"{component.name} did not end in time and is killed")
            child.kill()
            child.wait(1.0)
        component.clean_up()

    async def _keep(self, component: Component) -> None:
        """Restart a component whenever it ends, after its first start."""
        pause = _FIRST_PAUSE_SECONDS
        while component.child is not None:
            began = time.monotonic()
            how = _describe_end(await self._end_of(component.child))
            if time.monotonic() - began >= _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            while how:
                self._say(f"{component.name} {how}; it is started again in {pause:.1f} s")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
                how = await _start_again(component)

    def _collect_ended(self) -> None:
        for child in [child for child in self._ends if child.ended() is not None]:
            end = self._ends.pop(child)
            if not end.done():
                end.set_result(child.ended() or 0)

    async def _end_of(self, child: Child) -> int:
        end = self._ends.setdefault(child, self._loop.create_future())
        # It may have ended already, and no further SIGCHLD would report that.
        self._collect_ended()
        return await asyncio.shield(end)


async def _drive(component: Component) -> None:
    # Closing a cancelled start releases what it holds, such as a lock or initdb.
    with contextlib.closing(component.starting()) as start:
        for _ in start:
            await asyncio.sleep(_POLL_SECONDS)


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with exit status {code}"
    return f"was ended by {signal.Signals(-code).name}"


async def _start_again(component: Component) -> str:
    """Start a component; return how that failed, empty if it did not."""
    try:
        await _drive(component)
    except LocalError as error:
        return f"did not start ({str(error).rstrip('.')})"
    return ""


class _Lines:
    """Cuts pieces of output into lines; a line without an end is cut at a maximum length."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Add the next piece; an empty one is the end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not chunk or len(self._rest) >= _LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                self._output(line.decode(errors="replace").rstrip())
