"""The environment, read once, here, into a frozen object.

`read_settings(os.environ)` is called by each process's entry point and by nothing else; everything below it takes
what it needs as arguments. Each setting's name in the environment is its field's name in capitals. A value that can't
be used stops the start with a sentence that names it. Platform names are kept where platforms have them: `PORT`,
`WEB_CONCURRENCY`, `DATABASE_URL`, `REDIS_URL`. A test holds the README's table against this module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from shared.limits import MB


class SettingError(Exception):
    """A setting can't be used; the message is a sentence that names it."""


class SecretUrl(str):
    """A URL that may carry a password: it hides from repr, so from tracebacks and logs of whole objects too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretUrl('…')"


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _flag(value: str) -> bool:
    flags = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return flags[value.strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _url(*schemes: str) -> Callable[[str], SecretUrl]:
    def parse(value: str) -> SecretUrl:
        if value.split("://", 1)[0] not in schemes:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return SecretUrl(value)

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}")
        return number

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return parse


def _some_of(*choices: str) -> Callable[[str], frozenset[str]]:
    def parse(value: str) -> frozenset[str]:
        chosen = frozenset(part.strip() for part in value.split(","))
        if not chosen <= set(choices):
            raise ValueError(f"must be one or more of {', '.join(choices)}, with commas between")
        return chosen

    return parse


def _setting(parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of one process."""

    database_url: SecretUrl = _setting(
        _url("postgres", "postgresql"), SecretUrl(""), "Postgres. Unset: the engines of `make run` in `DATA_DIR`."
    )
    redis_url: SecretUrl = _setting(
        _url("redis", "rediss", "unix"),
        SecretUrl(""),
        "Redis or Valkey. Unset: the engines of `make run` in `DATA_DIR`.",
    )
    accept_data_loss: bool = _setting(
        _flag, False, "Start although Redis is not set up to keep what was accepted; every process warns."
    )
    host: str = _setting(_text, "127.0.0.1", "Address that the API listens on.")
    port: int = _setting(_whole(1, 65535), 8000, "Port that the API listens on.")
    web_concurrency: int = _setting(_whole(1, 64), 1, "API processes that share the port.")
    surfaces: frozenset[str] = _setting(
        _some_of("data", "management"),
        frozenset(("data", "management")),
        "Routes that an API process serves: `data` submits, `management` is the connector configuration.",
    )
    max_inflight_bytes: int = _setting(
        _whole(64 * MB, 1 << 40), 512 * MB, "Bytes of bodies that one API process holds at once; beyond: 503."
    )
    max_backlog_bytes: int = _setting(
        _whole(MB, 1 << 50), 512 * MB, "Bytes accepted and not yet applied, in all; beyond: 503. Fits a 1 GB Redis."
    )
    max_connector_backlog_bytes: int = _setting(
        _whole(MB, 1 << 50), 128 * MB, "One connector's part of these; beyond: 503 for that connector alone."
    )
    body_timeout_seconds: int = _setting(
        _whole(1, 600), 15, "A body of which nothing arrives for so long is answered 408."
    )
    shutdown_seconds: int = _setting(
        _whole(1, 600), 4, "After SIGTERM, requests under way have so long to end before they are cut off."
    )
    datapool_address: str = _setting(
        _text, "http://127.0.0.1:8000", "`dataPoolAddress` in a connector's configuration."
    )
    quiet_after_seconds: int = _setting(
        _whole(1, 31_536_000), 300, "`ingestctl status` calls a connector quiet that gave no sign of life for so long."
    )
    keep_logs_days: int = _setting(_whole(1, 3650), 30, "Connectors' log entries are kept for so many days.")
    keep_receipts_days: int = _setting(
        _whole(1, 3650), 7, "What became of an applied request can be asked for so many days."
    )
    keep_dead_letters_days: int = _setting(
        _whole(1, 3650), 90, "Submissions that can never be applied are kept for so many days."
    )
    data_dir: Path = _setting(_path, Path(".data"), "Folder of `make run`: engines' data, sockets, state.")
    workers: int = _setting(_whole(0, 64), 2, "Worker processes that `make run` starts.")
    log_format: Literal["auto", "json", "console"] = _setting(
        _one_of("auto", "json", "console"), "auto", "`auto`: readable on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        _one_of("debug", "info", "warning", "error"), "info", "Least severe level that is logged."
    )


def _as_text(value: object) -> str:
    """A default as it would be written in the environment."""
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


#: Every setting as (name in the environment, default, one sentence), in the order of the README's table.
REGISTER: Final = tuple(
    (field.name.upper(), _as_text(field.default), str(field.metadata["doc"])) for field in dataclasses.fields(Settings)
)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`; an empty value counts as unset. Raises SettingError."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        name = field.name.upper()
        text = environ.get(name, "")
        if not text:
            continue
        try:
            values[field.name] = field.metadata["parse"](text)
        except ValueError as fault:
            raise SettingError(f"The setting {name} {fault}.") from None
    return Settings(**values)
