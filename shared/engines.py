"""Where the engines are: as the settings say, or those that `make run` started in this folder."""

from __future__ import annotations

import dataclasses

from shared.local.data_dir import find_endpoints
from shared.settings import SecretUrl, Settings


class EnginesError(Exception):
    """No engines are to be found; the message is a sentence."""


def with_engines(settings: Settings) -> Settings:
    """`settings` with both engines' addresses. Raises EnginesError."""
    if settings.database_url and settings.redis_url:
        return settings
    endpoints = find_endpoints(settings.data_dir)
    if endpoints is None:
        raise EnginesError(
            f"No engines run in {settings.data_dir}: start them with `make run`, or set DATABASE_URL and REDIS_URL."
        )
    return dataclasses.replace(
        settings,
        database_url=settings.database_url or SecretUrl(endpoints.database_url),
        redis_url=settings.redis_url or SecretUrl(endpoints.redis_url),
    )
