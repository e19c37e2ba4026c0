"""`python -m ingest_api`: serve the API on HOST:PORT with WEB_CONCURRENCY processes."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import tempfile
from typing import Final

import uvicorn
from redis.exceptions import RedisError
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from ingest_api.app import create_app
from ingest_api.http.protocol import HttpProtocol
from ingest_api.metrics import LOG_LINES_LOST, SHARED_FOLDER
from shared.causes import SentenceError
from shared.process.allocator import give_back_memory_at_once
from shared.process.listening import bind
from shared.process.log import count_lost_lines
from shared.process.parent_death import die_with_parent
from shared.process.serving import OPTIONS, serve_until_signal
from shared.process.settings import Settings
from shared.process.startup import (
    exit_if_postgres_is_unusable,
    exit_unless_durable,
    log_start,
    start_process,
)
from shared.redis.connections import connect_redis
from shared.redis.durability import check_durability

#: Lifetime of an idle connection in seconds; longer than that of load balancers, so that they close first.
_KEEP_ALIVE_SECONDS: Final = 75
#: Net allocations before a garbage collection; requests leave no cycles, so frequent collections find nothing.
_GC_THRESHOLD: Final = 10_000
#: Time after which a thread that validates a body lets the event loop go on, in seconds. The loop waits for it at each
#: callback: with Python's 5 ms, one busy thread makes every request ten times as slow.
_SWITCH_SECONDS: Final = 0.0005


def application() -> ASGIApp:
    """Return the application of one serving process; uvicorn calls this in each."""
    settings = start_process("api")
    count_lost_lines(LOG_LINES_LOST.inc)
    log_start(settings)
    if settings.web_concurrency > 1:
        # If uvicorn's parent is killed, its children would go on serving and hold the port.
        die_with_parent()
    app = create_app(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    give_back_memory_at_once()
    freeze_memory()
    return app


def freeze_memory() -> None:
    """Exclude from garbage collection the 66,000 objects that live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def main() -> None:
    """Serve until a signal ends the process."""
    settings = start_process("api")
    raise_connection_limit()
    with contextlib.suppress(RedisError, OSError, UnicodeError):  # then submissions get 503; it is checked again later
        exit_unless_durable(check_durability(connect_redis(settings.redis_url)), settings)
    exit_if_postgres_is_unusable(settings)
    serve(settings)


def raise_connection_limit() -> None:
    """Allow as many connections as the system permits; a thousand idle clients would use up the usual 1,024."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems enforce a lower limit than they report
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def serve(settings: Settings) -> None:
    """Serve with uvicorn, in this process or in several. Exit with a sentence if the port can't be listened on."""
    try:
        sockets = bind(settings.host, settings.port)
    except SentenceError as error:
        sys.exit(str(error))
    config = uvicorn.Config(
        "ingest_api.__main__:application",
        factory=True,
        workers=settings.web_concurrency,
        http=HttpProtocol,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        **OPTIONS,
    )
    if settings.web_concurrency == 1:
        serve_until_signal(config, sockets)
        return
    with tempfile.TemporaryDirectory(prefix="ingest-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        Multiprocess(config, sockets).run()


if __name__ == "__main__":
    main()
