"""What platforms dictate is taken: an address of both families, a Redis with a certificate that no authority signed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.support.client import Connector
from tests.support.processes import free_port, refuses_to_start
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, submit
from tests.support.tcp_proxy import TlsRedisProxy


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="This machine has no IPv6, so HOST=:: was NOT tested.")
def test_host_of_two_colons_takes_connections_of_both_families(stack: Stack) -> None:
    port = free_port()
    with stack.api(HOST="::", PORT=port):
        answers = [httpx.get(f"http://{host}:{port}/healthz", trust_env=False) for host in ("127.0.0.1", "[::1]")]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_address_in_use_is_refused_with_a_sentence(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        sentence = refuses_to_start(stack.starting_api(PORT=other.getsockname()[1]))

    assert "can't listen on 127.0.0.1" in sentence


@pytest.fixture(scope="module")
def tls_redis(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedisProxy]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl was not found, so Redis with TLS was NOT tested.")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis.example"]
    subprocess.run([openssl, *words, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    with TlsRedisProxy(stack.redis_url, certificate=certificate, key=key) as proxy:
        yield proxy


def test_self_signed_redis_is_taken_if_a_setting_says_so(stack: Stack, tls_redis: TlsRedisProxy) -> None:
    settings = {"REDIS_URL": tls_redis.url, "REDIS_TLS_VERIFY": "false"}
    with stack.api(**settings) as api, stack.worker(**settings) as worker:
        worker.says("redis_tls_not_verified")
        made = stack.connector("behind TLS")
        connector = Connector(made.id, made.credential, api.url)

        all_is_applied_once(stack, connector, submit(connector))


def test_self_signed_redis_is_refused_otherwise(stack: Stack, tls_redis: TlsRedisProxy) -> None:
    with stack.worker(REDIS_URL=tls_redis.url) as worker:
        worker.says("certificate.*waiting_for_redis")
