"""How a process starts: settings, log, engines that keep what they accept.

The start waits for a Redis that is unavailable, since platforms start processes in any order; Postgres is waited for at
work. It ends with a sentence if an engine is configured so that accepted submissions would be lost, unless a setting
accepts that, and if the database never can be used.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from typing import Final

import psycopg
import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from shared.causes import SentenceError
from shared.outage import Outage
from shared.postgres.connections import SHORT_TIMEOUT_SECONDS, connect_postgres
from shared.postgres.errors import UnusableDatabaseError
from shared.postgres.suitability import require_suitable
from shared.process.endpoints import with_engines
from shared.process.log import configure_logging
from shared.process.output import take_over_output
from shared.process.setting_values import SecretUrl
from shared.process.settings import SettingError, Settings, read_settings
from shared.process.tracing import require_tracing
from shared.redis.connections import connect_redis, require_readable
from shared.redis.durability import Durability, blocking_problem, check_durability
from shared.redis.names import spread_lanes
from shared.redis.schemes import is_cluster
from shared.redis.wakeups import wake_queue

log = structlog.get_logger()

_RETRY_SECONDS: Final = 1.0


def process_settings(*, needs_engines: bool = True) -> Settings:
    """Return the settings of this process, with the engines' addresses. Exit with a sentence if they can't be used."""
    try:
        settings = read_settings(os.environ)
        if not needs_engines:
            return settings
        settings = with_engines(settings)
        name = "REDIS_URL"
        require_readable(settings.redis_url)
        name = "QUEUE_REDIS_URL"
        require_readable(settings.queue_url)
    except (SettingError, SentenceError) as error:
        sys.exit(str(error))
    except (ValueError, TypeError, RedisError):  # their messages may quote the address
        sys.exit(f"The setting {name} is not an address that Redis' client can read.")
    if is_cluster(settings.redis_url):
        spread_lanes()
    return settings


def start_process(name: str, *, needs_engines: bool = True) -> Settings:
    """Return the settings of this process, and set up its log under `name`."""
    take_over_output()
    settings = process_settings(needs_engines=needs_engines)
    require_tracing(settings)
    configure_logging(settings.log_format, settings.log_level, process=name, pid=os.getpid())
    if "ssl_cert_reqs=none" in settings.redis_url + settings.queue_url:
        log.warning("redis_tls_unverified")
    return settings


def log_start(settings: Settings) -> None:
    """Log that this process starts to work, and with which settings."""
    log.info("started", **changed_settings(settings))


def changed_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from the defaults, for the log: without addresses, which may hold passwords."""
    return {
        field.name: "…" if isinstance(value, SecretUrl) else str(value)
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    }


def durable_redis(settings: Settings) -> Redis:
    """Wait for Redis, check both engines, log the start and return a client. Exit if one would lose what it accepts."""
    redis, outage = connect_redis(settings.redis_url), Outage("waiting_for_redis")
    while True:
        try:
            durability = check_durability(redis)
            break
        except Exception as error:  # noqa: BLE001 - the outage tells what it is
            outage.report(error)
            time.sleep(_RETRY_SECONDS)
    outage.over()
    exit_unless_durable(durability, settings)
    exit_if_postgres_is_unusable(settings)
    log_start(settings)
    return redis


def queue_of(settings: Settings, redis: Redis) -> Queue:
    """Return the queue of wake-ups; `redis` is the client of the lanes, which RQ shares unless it has a Redis."""
    return wake_queue(redis if settings.queue_url == settings.redis_url else connect_redis(settings.queue_url))


def exit_if_postgres_is_unusable(settings: Settings) -> None:
    """Exit if this database never can be used; one that can't be used now is waited for later, at work."""
    try:
        with connect_postgres(
            settings.database_url, application="ingest start", answer_timeout=SHORT_TIMEOUT_SECONDS
        ) as connection:
            require_suitable(connection, accept_data_loss=settings.accept_data_loss)
    except UnusableDatabaseError as error:
        sys.exit(str(error))
    except psycopg.Error as error:
        Outage("postgres_unavailable").report(error)


def exit_unless_durable(durability: Durability, settings: Settings) -> None:
    """Exit with a sentence if accepted submissions would be lost and ACCEPT_DATA_LOSS is not set."""
    problem = blocking_problem(durability, accept_data_loss=settings.accept_data_loss)
    if problem:
        sys.exit(f"{problem} (Or accept losing data: ACCEPT_DATA_LOSS=true.)")
