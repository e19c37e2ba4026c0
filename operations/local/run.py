"""`make run`: the whole system on one machine, in the foreground.

Checks come first, so that an error is one sentence and nothing has been started: the settings, the lock of the data
folder, the ports, the binaries. Then come the engines, migrations, the API and the console, workers and the sweeper,
and a demo connector with a line to paste. Ctrl-C or SIGTERM stops everything within 5 s; a second one kills. Engines
whose URL is set are used and not started.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from operations.local.binaries import find_postgres_bin, find_valkey_server
from operations.local.data_dir import announce, claim, secrets_key, write_private
from operations.local.engine import Engine
from operations.local.errors import LocalError
from operations.local.ports import answers_healthz, base_url, free_port_after, require_free
from operations.local.postgres import Postgres
from operations.local.program import Program
from operations.local.supervisor import StopTurn, Supervisor
from operations.local.terminal import Terminal
from operations.local.valkey import Valkey
from shared.causes import SentenceError
from shared.process.endpoints import Endpoints
from shared.process.output import take_over_output
from shared.process.parent_death import die_with_parent
from shared.process.settings import SettingError, Settings, read_settings

#: Argument with which the Makefile starts the run: `make` itself may be killed.
END_WITH_PARENT: Final = "--end-with-parent"
_DEMO: Final = "demo"
_ADMINISTRATOR: Final = "admin"
_TRIM_SECONDS: Final = 30.0
#: Maximum of SHUTDOWN_SECONDS here; below the deadline at which the supervisor kills the API.
_MAX_SHUTDOWN_SECONDS: Final = 3
_EXAMPLE: Final = (
    '{"stream":"agents","items":[{"id":"agent-1001","name":"Alice Smith",'
    '"fields":{"state":"Ready","queue":"Sales","callsHandled":"14"},"tags":{"site":"London"}}]}'
)


@dataclass(frozen=True)
class Commands:
    """The commands that are run beside the engines; tests run others."""

    api: Sequence[str] = (sys.executable, "-m", "ingest_api")
    worker: Sequence[str] = (sys.executable, "-m", "workers")
    sweeper: Sequence[str] = (sys.executable, "-m", "workers.sweep")
    console: Sequence[str] = (sys.executable, "-m", "operations.console")
    cli: Sequence[str] = (sys.executable, "-m", "operations.cli")


def main(arguments: Sequence[str], environ: Mapping[str, str], commands: Commands | None = None) -> int:
    """Run until stopped by a signal; return the exit status."""
    take_over_output()
    if END_WITH_PARENT in arguments:
        die_with_parent(signal.SIGTERM, os.getppid())
    try:
        settings = read_settings(environ)
        with claim(settings.data_dir) as folder:
            require_free(settings.host, settings.port, "PORT")
            if environ.get("CONSOLE_PORT"):
                require_free(settings.host, settings.console_port, "CONSOLE_PORT")
            else:  # of several runs, each has a PORT of its own
                console_port = free_port_after(settings.host, settings.port)
                settings = dataclasses.replace(settings, console_port=console_port)
            asyncio.run(Run(settings, folder, environ, commands or Commands()).until_stopped())
    except (SentenceError, SettingError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    return 0


class Run:
    """One run, from the first step to the last."""

    def __init__(self, settings: Settings, folder: Path, environ: Mapping[str, str], commands: Commands) -> None:
        self._settings = settings
        self._folder = folder
        self._environ = environ
        self._commands = commands
        self._terminal = Terminal(sys.stdout, environ)
        self._engines: list[Engine] = []

    async def until_stopped(self) -> None:
        """Start everything, wait for a signal, stop everything. Raises LocalError if the start fails."""
        self._supervisor = Supervisor(say=self._terminal.step, output=self._terminal.output)
        stop_requested = self._listen_for_signals()
        start = asyncio.create_task(self._start())
        trim = asyncio.create_task(self._trim_logs())
        stop = asyncio.create_task(stop_requested.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                await stop
            self._terminal.step("Stopping")
        finally:
            for task in (start, trim, stop):
                task.cancel()
            await asyncio.gather(start, trim, stop, return_exceptions=True)
            await self._supervisor.stop()
        self._terminal.step("Stopped")

    async def _start(self) -> None:
        endpoints = await self._start_engines()
        environ = self._component_environ(endpoints)
        await self._cli(environ, "migrate")
        self._terminal.step("The database is migrated")
        await self._start_components(environ)
        self._terminal.step(f"The API answers; {self._settings.workers} workers and the sweeper are starting")
        announce(self._folder, endpoints)
        connector_id, credential = await self._demo_connector(environ)
        console_url = base_url(self._settings.host, self._settings.console_port)
        login = await self._console_login(environ)
        self._print_what_to_paste(endpoints.api_url, f"{console_url}   ({login})", connector_id, credential)

    async def _start_engines(self) -> Endpoints:
        """Start the engines whose URL is not set."""
        settings, say = self._settings, self._terminal.step
        postgres, valkey = Postgres(self._folder, say=say), Valkey(self._folder, say=say)
        if not settings.database_url:
            find_postgres_bin(self._environ)
            self._engines.append(postgres)
        if not settings.redis_url:
            find_valkey_server(self._environ)
            self._engines.append(valkey)
        if self._engines:
            names = " and ".join(engine.name for engine in self._engines)
            say(f"Starting {names} in {self._folder}")
            await self._supervisor.start(*self._engines, stop=StopTurn.ENGINES)
            say(f"{names} ready")
        return Endpoints(
            database_url=settings.database_url or postgres.url,
            redis_url=settings.redis_url or valkey.url,
            api_url=base_url(settings.host, settings.port),
            pid=os.getpid(),
        )

    async def _start_components(self, environ: Mapping[str, str]) -> None:
        """Start the API before the workers: it reports errors in the settings."""
        start, settings = self._supervisor.start, self._settings
        healthy, console_healthy = (
            partial(answers_healthz, settings.host, port) for port in (settings.port, settings.console_port)
        )
        api = self._program("api", self._commands.api, environ, healthy)
        await start(api, self._program("console", self._commands.console, environ, console_healthy), stop=StopTurn.API)
        workers = [
            self._program(f"worker-{number}", self._commands.worker, environ)
            for number in range(1, settings.workers + 1)
        ]
        sweeper = self._program("sweeper", self._commands.sweeper, environ)
        await start(*workers, sweeper, stop=StopTurn.WORKERS)

    def _program(
        self, name: str, argv: Sequence[str], environ: Mapping[str, str], answers: Callable[[], bool] = lambda: True
    ) -> Program:
        return Program(name, argv, environ=environ, listen=self._supervisor.listen, answers=answers)

    def _component_environ(self, endpoints: Endpoints) -> dict[str, str]:
        """Return our environment with the settings that all components share."""
        settings = self._settings
        environ = {
            **self._environ,
            "DATABASE_URL": endpoints.database_url,
            "REDIS_URL": endpoints.redis_url,
            "HOST": settings.host,
            "PORT": str(settings.port),
            "CONSOLE_PORT": str(settings.console_port),
            "WEB_CONCURRENCY": str(settings.web_concurrency),
            "DATA_DIR": str(self._folder),
            "SHUTDOWN_SECONDS": str(min(settings.shutdown_seconds, _MAX_SHUTDOWN_SECONDS)),
            "PYTHONUNBUFFERED": "1",
        }
        environ.setdefault("DATAPOOL_ADDRESS", endpoints.api_url)
        if not settings.secrets_key:
            environ["SECRETS_KEY"] = secrets_key(self._folder)
        if settings.log_format == "auto":
            # Components write to a pipe and can't see whether our stdout is a terminal.
            environ["LOG_FORMAT"] = "console" if self._terminal.is_terminal else "json"
        return environ

    async def _cli(self, environ: Mapping[str, str], *words: str) -> str:
        code, printed = await self._supervisor.run_once([*self._commands.cli, *words], environ)
        if code != 0:
            last = printed.strip().splitlines()[-1:] or ["it printed nothing"]
            raise LocalError(f"`ingestctl {shlex.join(words)}` failed: {last[0]}")
        return printed

    async def _demo_connector(self, environ: Mapping[str, str]) -> tuple[int, str]:
        """Return its id and a working credential: that of the last run, if its file still exists."""
        file = self._folder / "demo-credential"
        connectors = json.loads(await self._cli(environ, "connector", "list", "--json"))["connectors"]
        found = next((connector["connectorId"] for connector in connectors if connector["name"] == _DEMO), None)
        if found is not None and file.exists():
            return int(found), file.read_text().strip()
        words = ("connector", "create", _DEMO) if found is None else ("credential", "rotate", str(found))
        made = json.loads(await self._cli(environ, *words, "--json"))
        write_private(file, f"{made['credential']}\n")
        return int(made["connectorId"] if found is None else found), str(made["credential"])

    async def _console_login(self, environ: Mapping[str, str]) -> str:
        """Return how to log in to the console: the one-time password is told until it is replaced or has expired."""
        file = self._folder / "console-login"
        other = f"log in as {_ADMINISTRATOR}; `ingestctl operator reset {_ADMINISTRATOR}` makes another password"
        if not file.exists():
            words = ("operator", "create", _ADMINISTRATOR, "--role", "administrator", "--json")
            try:
                made = json.loads(await self._cli(environ, *words))
            except LocalError:  # the database is an older one, which has this operator
                return other
            write_private(file, f"{made['oneTimePassword']}\n")
        elif file.read_text() and not await self._is_current(environ, file.stat().st_mtime):
            write_private(file, "")
        password = file.read_text().strip()
        return f"log in as {_ADMINISTRATOR}; the first time with the password {password}" if password else other

    async def _is_current(self, environ: Mapping[str, str], written_at: float) -> bool:
        """Return whether the one-time password of then is still the one to log in with."""
        listed = json.loads(await self._cli(environ, "operator", "list", "--json"))["operators"]
        now, written = datetime.now(UTC), datetime.fromtimestamp(written_at, UTC)
        return any(
            datetime.fromisoformat(one["passwordChangedAt"]) <= written
            and one["oneTimeUntil"] is not None
            and datetime.fromisoformat(one["oneTimeUntil"]) > now
            for one in listed
            if one["name"] == _ADMINISTRATOR
        )

    def _print_what_to_paste(self, url: str, console: str, connector_id: int, credential: str) -> None:
        line = self._terminal.line
        line()
        line(f"Base URL    {url}")
        line(f"Console     {console}")
        line(f"Credential  {credential}   (connector {connector_id}, {_DEMO})")
        line()
        line(
            f"curl -i -X POST {url}/api/ingest -H 'Authorization: Bearer {credential}' "
            f"-H 'Content-Type: application/json' -d '{_EXAMPLE}'"
        )
        line()
        line(f"{self._ingestctl()} items {connector_id} agents")
        line()

    def _ingestctl(self) -> str:
        """Return the command as it can be typed here, with DATA_DIR unless that is the default."""
        program = Path(sys.executable).parent / "ingestctl"
        with contextlib.suppress(ValueError):
            program = program.relative_to(Path.cwd())
        is_default = self._folder == (Path.cwd() / ".data")
        return shlex.quote(str(program)) if is_default else f"DATA_DIR={shlex.quote(str(self._folder))} {program}"

    def _listen_for_signals(self) -> asyncio.Event:
        stop_requested = asyncio.Event()

        def stop() -> None:
            if stop_requested.is_set():
                self._supervisor.kill()
            stop_requested.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP, and that must stay.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, stop)
        return stop_requested

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_SECONDS)
            for engine in self._engines:
                engine.log.trim()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
