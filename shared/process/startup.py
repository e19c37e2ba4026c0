"""How a process starts: settings, log, a Redis that keeps what it is given.

An engine that is away is waited for, since platforms start processes in any order; one that is set up so that it would
lose accepted submissions stops the start with a sentence, unless a setting accepts that.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from typing import Final

import structlog
from redis import Redis

from shared.process.endpoints import EnginesError, with_engines
from shared.process.log import configure_logging
from shared.process.settings import SecretUrl, SettingError, Settings, read_settings
from shared.redis.connections import UNAVAILABLE, connect_redis
from shared.redis.durability import Durability, check_durability, fault_that_counts

log = structlog.get_logger()

_WAIT_SECONDS: Final = 1.0


def process_settings() -> Settings:
    """Settings of the process, with the engines' addresses; exits with a sentence where they can't be used."""
    try:
        return with_engines(read_settings(os.environ))
    except (SettingError, EnginesError) as fault:
        sys.exit(str(fault))


def logging_settings(name: str) -> Settings:
    """The same, with the log set up for a process called `name`."""
    settings = process_settings()
    configure_logging(settings.log_format, settings.log_level, process=name, pid=os.getpid())
    return settings


def log_start(settings: Settings) -> None:
    """A line in the log: nothing stands in the way of this process, and what it goes by."""
    log.info("started", **changed_settings(settings))


def changed_settings(settings: Settings) -> dict[str, str]:
    """The settings that are not the defaults, for the log: addresses without what may be a password in them."""
    return {
        field.name: "…" if isinstance(value, SecretUrl) else str(value)
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    }


def durable_redis(settings: Settings) -> Redis:
    """A Redis that was checked; logs the start. Waits for one that is away, exits where it would lose what it takes."""
    redis = connect_redis(settings.redis_url)
    while (durability := _durability(redis)) is None:
        time.sleep(_WAIT_SECONDS)
    exit_unless_durable(durability, settings)
    log_start(settings)
    return redis


def exit_unless_durable(durability: Durability, settings: Settings) -> None:
    """Exits with a sentence where accepted submissions would be lost and nobody accepted that."""
    sentence = fault_that_counts(durability, accept_data_loss=settings.accept_data_loss)
    if sentence:
        sys.exit(f"{sentence} (Or accept losing data: ACCEPT_DATA_LOSS=true.)")


def _durability(redis: Redis) -> Durability | None:
    try:
        return check_durability(redis)
    except UNAVAILABLE as fault:
        log.warning("waiting_for_redis", error=str(fault))
        return None
