"""Settings: defaults, errors that name the setting, and passwords that are never shown."""

from __future__ import annotations

import pytest

from shared.process.settings import REGISTER, SettingError, read_settings
from shared.process.startup import changed_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({"PORT": ""})

    assert (settings.port, settings.database_url, settings.workers) == (8000, "", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("DATABASE_URL", "mysql://host/db"),
        ("REDIS_URL", "localhost:6379"),
        ("ACCEPT_DATA_LOSS", "maybe"),
        ("LOG_FORMAT", "xml"),
        ("MAX_INFLIGHT_BYTES", "30MB"),
        ("WORKERS", "-1"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"^The setting {name} must .*\.$"):
        read_settings({name: value})


def test_repr_hides_passwords() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://u:hunter2@h/d", "REDIS_URL": "redis://:hunter2@h"})

    assert "hunter2" not in repr(settings)


def test_every_setting_has_a_sentence() -> None:
    assert all(doc.endswith(".") for _, _, doc in REGISTER)


def test_only_changed_settings_are_logged_and_no_address() -> None:
    settings = read_settings({"REDIS_URL": "redis://:hunter2@h", "PORT": "81"})

    assert changed_settings(settings) == {"redis_url": "…", "port": "81"}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_URL": "rediss://h", "REDIS_TLS_VERIFY": "false"}, "rediss://h?ssl_cert_reqs=none"),
        ({"REDIS_URL": "rediss://h/0?a=b", "REDIS_TLS_CA_FILE": "/ca"}, "rediss://h/0?a=b&ssl_ca_certs=%2Fca"),
        ({"REDIS_URL": "rediss://h?ssl_cert_reqs=required", "REDIS_TLS_VERIFY": "false"}, ""),
        ({"REDIS_URL": "redis://h", "REDIS_TLS_VERIFY": "false"}, ""),
        ({"REDIS_URL": "rediss://h"}, ""),
    ],
)
def test_settings_of_tls_are_added_to_the_url_of_redis(environ: dict[str, str], url: str) -> None:
    assert read_settings(environ).redis_url == (url or environ["REDIS_URL"])
