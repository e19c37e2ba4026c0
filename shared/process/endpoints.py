"""The addresses of the engines: from the settings, or those of `make run` in `DATA_DIR`.

The supervisor of `make run` holds `DATA_DIR/lock` as long as it lives and writes `DATA_DIR/endpoints.json`. Only the
lock tells whether a run is alive: a pid in a file may belong to another process.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.causes import SentenceError
from shared.process.locks import is_locked
from shared.process.setting_values import SecretKeys, SecretUrl
from shared.process.settings import Settings, read_settings

LOCK_FILE: Final = "lock"
ENDPOINTS_FILE: Final = "endpoints.json"
#: Holds the key that `make run` made for the signing secrets of hooks.
SECRETS_KEY_FILE: Final = "secrets-key"


@dataclass(frozen=True)
class Endpoints:
    """Addresses of a running `make run`."""

    database_url: SecretUrl
    redis_url: SecretUrl
    api_url: str
    pid: int


def with_engines(settings: Settings) -> Settings:
    """Return `settings` with both engines' addresses. Raises SentenceError."""
    if settings.database_url and settings.redis_url:
        return settings
    endpoints = find_endpoints(settings.data_dir)
    if endpoints is None:
        raise SentenceError(
            f"No engines run in {settings.data_dir}: start them with `make run`, or set DATABASE_URL and REDIS_URL."
        )
    return dataclasses.replace(
        settings,
        database_url=settings.database_url or endpoints.database_url,
        redis_url=settings.redis_url or endpoints.redis_url,
        secrets_key=settings.secrets_key or find_secrets_key(settings.data_dir),
    )


def find_secrets_key(data_dir: Path) -> SecretKeys:
    """Return the key that `make run` keeps in `data_dir`, if it keeps one. Raises SettingError if it is damaged."""
    try:
        text = (data_dir / SECRETS_KEY_FILE).read_text()
    except OSError:
        return SecretKeys()
    return read_settings({"SECRETS_KEY": text.strip()}).secrets_key


def find_endpoints(data_dir: Path) -> Endpoints | None:
    """Return what runs in `data_dir`, None if nothing does. Raises SentenceError if the folder can't be read."""
    try:
        text = (data_dir / ENDPOINTS_FILE).read_text()
        if not is_locked(data_dir / LOCK_FILE):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SentenceError(f"What runs in {data_dir} can't be read: {error.strerror}.") from error
    found = json.loads(text)
    return Endpoints(
        SecretUrl(found["databaseUrl"]), SecretUrl(found["redisUrl"]), str(found["apiUrl"]), int(found["pid"])
    )
