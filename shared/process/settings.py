"""The settings, read once from the environment into a frozen object.

`read_settings(os.environ)` is called by each process's entry point only; everything else receives what it needs as
arguments. A setting's name in the environment is its field's name in capitals. A value that can't be used stops the
start with a sentence that names the setting. Names are those that platforms use: `PORT`, `WEB_CONCURRENCY`,
`DATABASE_URL`, `REDIS_URL`. A test compares the table in docs/settings.md with this module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

from shared.limits import MB
from shared.process.setting_values import (
    SecretKeys,
    SecretUrl,
    flag,
    host,
    keys,
    networks,
    one_of,
    parser,
    path,
    some_of,
    url,
    whole,
    with_tls,
)
from shared.redis.schemes import SCHEMES, is_cluster

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


class SettingError(Exception):
    """A setting can't be used; the message is a sentence that names it."""


def _setting(parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of one process."""

    database_url: SecretUrl = _setting(
        url("postgres", "postgresql"), SecretUrl(""), "Postgres server. Unset: the one of `make run` in `DATA_DIR`."
    )
    read_database_url: SecretUrl = _setting(
        url("postgres", "postgresql"),
        SecretUrl(""),
        "Postgres server, perhaps a standby, to list items, logs and dead letters from. Unset: `DATABASE_URL`.",
    )
    redis_url: SecretUrl = _setting(
        url(*SCHEMES),
        SecretUrl(""),
        "Redis or Valkey: one server, sentinels or a cluster. Unset: the server of `make run` in `DATA_DIR`.",
    )
    redis_tls_url: SecretUrl = _setting(
        url(*SCHEMES),
        SecretUrl(""),
        "Used instead of `REDIS_URL`: some platforms set both, and only this one speaks TLS.",
    )
    queue_redis_url: SecretUrl = _setting(
        url(*SCHEMES),
        SecretUrl(""),
        "Redis of RQ's queue: one server or sentinels, and need not be durable. Unset: `REDIS_URL`, which can't be a "
        "cluster then.",
    )
    redis_tls_verify: bool = _setting(
        flag(),
        True,
        "Refuse certificates of Redis that are not trusted. `false` takes any; every process logs a warning.",
    )
    redis_tls_ca_file: str = _setting(
        parser(str, lambda file: Path(file).is_file(), "must be a file"),
        "",
        "File with the certificates that are trusted for Redis, in PEM form. Unset: those of the system.",
    )
    accept_data_loss: bool = _setting(
        flag(), False, "Start even if Redis or Postgres would lose accepted submissions; every process logs a warning."
    )
    host: str = _setting(
        host, "127.0.0.1", "Address that the API listens on. `::` means all of them, `0.0.0.0` those of IPv4."
    )
    port: int = _setting(whole(1, 65535), 8000, "Port that the API listens on.")
    console_port: int = _setting(whole(1, 65535), 8001, "Port that the console listens on: operators' pages and API.")
    forwarded_allow_ips: str = _setting(
        networks, "", "Addresses or networks of proxies before the console: their `X-Forwarded-For` names the browser."
    )
    web_concurrency: int = _setting(whole(1, 64), 1, "Number of API processes that share the port.")
    metrics_port: int = _setting(
        whole(0, 65535),
        0,
        "Port on which a worker or sweeper serves its metrics, on `HOST`; if it is taken, the next free one. 0: none.",
    )
    surfaces: frozenset[str] = _setting(
        some_of("data", "management"),
        frozenset(("data", "management")),
        "Routes that an API process serves: `data` for submissions, `management` for connector configurations.",
    )
    secrets_key: SecretKeys = _setting(
        keys(),
        SecretKeys(),
        "Key of the signing secrets of hooks: 32 bytes in base64. Several, separated by commas: the first one "
        "encrypts, each decrypts. Unset: hooks are off.",
    )
    max_inflight_bytes: int = _setting(
        whole(64 * MB, 1 << 40), 512 * MB, "Maximum bytes of bodies in one API process; more are answered 503."
    )
    max_backlog_bytes: int = _setting(
        whole(MB, 1 << 50),
        512 * MB,
        "Maximum bytes accepted and not yet applied; more are answered 503. The default suits a Redis of 1 GB.",
    )
    max_connector_backlog_bytes: int = _setting(
        whole(MB, 1 << 50), 128 * MB, "The same for each connector: its share of `MAX_BACKLOG_BYTES`."
    )
    wait_replicas: int = _setting(
        whole(0, 16),
        0,
        "Replicas of Redis that must have a submission on disk before its 202; else it is answered 503.",
    )
    body_timeout_seconds: int = _setting(
        whole(1, 600), 15, "Maximum time in which nothing of a body arrives; then the request is answered 408."
    )
    shutdown_seconds: int = _setting(
        whole(1, 600), 4, "Time after SIGTERM for running requests to end before they are cut off."
    )
    postgres_connections: int = _setting(
        whole(1, 1000), 8, "Maximum connections of one API process to Postgres, in its pool."
    )
    redis_connections: int = _setting(whole(4, 1000), 16, "Maximum connections of one API process to Redis.")
    datapool_address: str = _setting(str, "http://127.0.0.1:8000", "`dataPoolAddress` in a connector's configuration.")
    canary_key: SecretUrl = _setting(
        SecretUrl, SecretUrl(""), "Key of the connector as which `operations.canary` submits."
    )
    quiet_after_seconds: int = _setting(
        whole(1, 31_536_000), 300, "Time without a submission after which `ingestctl status` calls a connector quiet."
    )
    stalled_after_seconds: int = _setting(
        whole(1, 86_400), 60, "Time in which a lane with submissions applies none, after which it counts as stalled."
    )
    keep_logs_days: int = _setting(whole(1, 3650), 30, "Days for which connectors' log entries are kept.")
    keep_receipts_days: int = _setting(
        whole(1, 3650), 7, "Days for which the status of an applied request is available."
    )
    keep_dead_letters_days: int = _setting(
        whole(1, 3650), 90, "Days for which submissions that can't be applied are kept."
    )
    keep_traffic_days: int = _setting(
        whole(1, 3650), 30, "Days for which traffic is kept by the hour, and refusals; by the minute, it is two days."
    )
    keep_audit_days: int = _setting(
        whole(1, 36_500), 1_095, "Days for which the record of operators' changes is kept: `ingestctl audit`."
    )
    data_dir: Path = _setting(path, Path(".data"), "Folder of `make run`: the engines' data, sockets, state.")
    run_dir: str = _setting(
        str,
        "",
        "Folder for `python -m workers.health`. Unset: one of the user's own in the system's temporary folder.",
    )
    workers: int = _setting(whole(0, 64), 2, "Number of worker processes that `make run` starts.")
    otel_traces_exporter: str = _setting(
        one_of("none", "otlp"), "none", "`otlp` sends traces to a collector; needs the extra `otel`."
    )
    otel_exporter_otlp_endpoint: SecretUrl = _setting(
        url("http", "https"), SecretUrl(""), "Collector that takes OTLP over HTTP. Unset: `http://localhost:4318`."
    )
    otel_service_name: str = _setting(str, "", "`service.name` of the traces. Unset: `ingest-api`, `ingest-worker`.")
    log_format: LogFormat = _setting(
        one_of(*get_args(LogFormat)), "auto", "`console`, `json`, or `auto`: `console` on a terminal, else `json`."
    )
    log_level: LogLevel = _setting(
        one_of(*get_args(LogLevel)), "info", "Lowest level that is logged: `debug`, `info`, `warning` or `error`."
    )

    @property
    def queue_url(self) -> SecretUrl:
        """The address of RQ's Redis, which also keeps what sweeper and workers tell of themselves."""
        return self.queue_redis_url or self.redis_url


def _as_text(value: object) -> str:
    """Return a default as it would be written in the environment."""
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


#: Every setting as (name in the environment, default, sentence), in the order of docs/settings.md.
REGISTER: Final = tuple(
    (field.name.upper(), _as_text(field.default), str(field.metadata["doc"])) for field in dataclasses.fields(Settings)
)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`; an empty value counts as unset. Raises SettingError."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        name = field.name.upper()
        text = environ.get(name, "")
        if not text:
            continue
        try:
            values[field.name] = field.metadata["parse"](text)
        except ValueError as error:
            raise SettingError(f"The setting {name} {error}.") from None
    settings = Settings(**values)
    tls = partial(with_tls, verify=settings.redis_tls_verify, ca_file=settings.redis_tls_ca_file)
    settings = dataclasses.replace(
        settings,
        redis_url=tls(settings.redis_tls_url or settings.redis_url),
        queue_redis_url=tls(settings.queue_redis_url),
    )
    if is_cluster(settings.queue_url):
        raise SettingError("The setting QUEUE_REDIS_URL must name one server or sentinels: RQ can't use a cluster.")
    return settings
