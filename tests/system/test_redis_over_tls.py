"""Redis behind TLS with a certificate of its own, as platforms give it: refused in words, unless settings trust it."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.client import Connector, get, item
from tests.support.processes import run, wait_until
from tests.support.stack import Stack

_SECRET = "not-to-be-printed"


class TlsRedis:
    """Speaks TLS in front of the Redis at `redis_url`, with a self-signed certificate for localhost."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self._server = unquote(urlsplit(redis_url).path)
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        words += ["-addext", "subjectAltName=DNS:localhost", "-out", str(self.certificate), "-keyout", str(key)]
        subprocess.run(words, check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"rediss://localhost:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            with self._context.wrap_socket(plain, server_side=True) as client:
                threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
                _pass_on(client, server)


def _pass_on(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def tls(workerless: Stack, tmp_path: Path) -> Iterator[TlsRedis]:
    if not shutil.which("openssl"):
        pytest.skip("there is no program `openssl` to make a certificate")
    redis = TlsRedis(workerless.redis_url, tmp_path)
    yield redis
    redis.close()


def test_a_certificate_that_is_not_trusted_is_refused_in_words(workerless: Stack, tls: TlsRedis) -> None:
    with (
        workerless.starting_api(REDIS_URL=tls.url) as api,
        workerless.worker(REDIS_URL=tls.url) as worker,
    ):
        wait_until("the API listens", lambda: api.answers("/healthz") == 200)
        assert "certificate is not trusted" in get(f"{api.url}/readyz").text
        for process in (api, worker):
            process.says(r"certificate is not trusted \(self-signed certificate\): set REDIS_TLS_CA_FILE")
    told = re.findall("certificate is not trusted", api.printed)
    assert len(told) == 1, "one line, however often it is tried"

    words = [sys.executable, "-m", "operations.cli", "connector", "disable", "1"]
    command = run(words, folder=workerless.folder, DATABASE_URL=workerless.database_url, REDIS_URL=tls.url)
    assert "certificate is not trusted" in command.stderr


@pytest.mark.parametrize("trusted", ["all", "one"])
def test_settings_make_every_process_trust_it(
    trusted: str, workerless: Stack, tls: TlsRedis, new_connector: Callable[..., Connector]
) -> None:
    settings: dict[str, object] = {"REDIS_URL": tls.url}
    settings |= {"REDIS_TLS_VERIFY": "false"} if trusted == "all" else {"REDIS_TLS_CA_FILE": tls.certificate}
    connector = new_connector(workerless)
    with workerless.api(**settings) as api, workerless.worker(**settings) as worker:
        Connector(connector.id, connector.credential, api.url).send(item("over TLS", n=1))
        wait_until("it is applied", lambda: workerless.fields(connector, "over TLS") is not None)

    for process in (api, worker):
        assert ("redis_tls_unverified" in process.printed) == (trusted == "all")


def test_a_password_is_refused_in_words_and_not_printed(workerless: Stack) -> None:
    path = unquote(urlsplit(workerless.redis_url).path)
    with workerless.starting_api(REDIS_URL=f"unix://nobody:{_SECRET}@{path}") as api:
        api.says("refuses the user or the password in REDIS_URL")
    assert _SECRET not in api.printed
