"""Settings: defaults, errors that name the setting, and passwords that are never shown."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from shared.process.settings import REGISTER, SettingError, read_settings
from shared.process.startup import changed_settings, process_settings
from shared.redis.connections import connect_redis


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
        ("SECRETS_KEY", "secret"),
        ("SECRETS_KEY", f"{'A' * 43}=,{'A' * 42}=="),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"^The setting {name} must .*\.$"):
        read_settings({name: value})


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "rediss://:p@h:6380/0"),
        ({"REDIS_TLS_VERIFY": "false"}, "rediss://:p@h:6380/0?ssl_cert_reqs=none"),
        ({"REDIS_TLS_CA_FILE": "/dev/null/x"}, None),
        ({"REDIS_TLS_CA_FILE": __file__}, f"rediss://:p@h:6380/0?{urlencode({'ssl_ca_certs': __file__})}"),
        (
            {"REDIS_TLS_VERIFY": "false", "REDIS_URL": "rediss://h?ssl_cert_reqs=required&protocol=3"},
            "rediss://h?ssl_cert_reqs=required&protocol=3",
        ),
        (
            {"REDIS_TLS_VERIFY": "false", "REDIS_URL": "rediss://h?protocol=3"},
            "rediss://h?protocol=3&ssl_cert_reqs=none",
        ),
        ({"REDIS_TLS_VERIFY": "false", "REDIS_URL": "redis://h"}, "redis://h"),
        ({"REDIS_TLS_URL": "rediss://other"}, "rediss://other"),
        (
            {"REDIS_TLS_VERIFY": "false", "REDIS_URL": "rediss+sentinel://h/main"},
            "rediss+sentinel://h/main?ssl_cert_reqs=none",
        ),
    ],
)
def test_settings_about_tls_become_options_of_the_address(environ: dict[str, str], address: str | None) -> None:
    environ = {"REDIS_URL": "rediss://:p@h:6380/0", **environ}
    if address is None:
        with pytest.raises(SettingError, match="REDIS_TLS_CA_FILE must be a file"):
            read_settings(environ)
        return
    settings = read_settings(environ)

    assert settings.redis_url == address
    assert "p@h" not in repr(settings)
    assert connect_redis(settings.redis_url).connection_pool.connection_kwargs


@pytest.mark.parametrize("rest", ["/ss@h:1", "@h?socket_timeout=x", "@h?no_such_option=1", "@h?protocol=9"])
def test_an_address_that_redis_client_can_not_read_ends_each_process_without_quoting_it(
    rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("REDIS_URL", f"redis://:secret{rest}")

    with pytest.raises(SystemExit) as refusal:
        process_settings()

    assert refusal.value.args == ("The setting REDIS_URL is not an address that Redis' client can read.",)


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_brackets_around_a_host_are_taken_off(host: str) -> None:
    assert read_settings({"HOST": host}).host == "::"


def test_repr_hides_passwords() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://u:hunter2@h/d", "REDIS_URL": "redis://:hunter2@h"})

    assert "hunter2" not in repr(settings)


def test_every_setting_has_a_sentence() -> None:
    assert all(doc.endswith(".") for _, _, doc in REGISTER)


def test_only_changed_settings_are_logged_and_no_address() -> None:
    settings = read_settings({"REDIS_URL": "redis://:hunter2@h", "PORT": "81", "SECRETS_KEY": f"{'A' * 43}="})

    assert changed_settings(settings) == {"redis_url": "…", "port": "81", "secrets_key": "…"}


def test_several_keys_are_read_in_order_and_never_shown() -> None:
    keys = read_settings({"SECRETS_KEY": f"{'A' * 43}=, {'/' * 42}8="}).secrets_key

    assert keys == (bytes(32), b"\xff" * 32)
    assert (repr(keys), str(keys)) == ("SecretKeys(…)", "…")
