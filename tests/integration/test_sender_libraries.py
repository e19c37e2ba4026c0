"""The libraries of GitHub, Stripe, Shopify and Standard Webhooks sign what hooks accept; a flipped bit is refused.

They are pinned in `webhook_senders/`, and installed into `.bench/` by the first run, 8,000 files that take 12 s of CPU:
`unit/test_hook_schemes.py` has what they made. A machine that can't reach a package registry skips this; in CI (`CI` is
set) that is a failure.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from benchmarks.peers.environments import NodeModules
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.hook_tools import hook_api
from tests.support.client import JSON, assert_accepted, assert_refused
from tests.support.installed import installed
from tests.support.signing import event

_SCHEMES = ("github", "stripe", "shopify", "standard")
_BODY = event("agent-1", name="Alice é")


def signed(secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the headers that each scheme's library makes for the body with its secret."""
    senders = installed(NodeModules(Path(__file__).parent / "webhook_senders"))
    given = json.dumps({"body": _BODY.decode(), "secrets": secrets})
    done = subprocess.run(
        [senders.node, "sign.mjs"],
        cwd=senders.folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, dict[str, str]] = json.loads(done.stdout)
    return made


def flipped(value: bytes, position: int) -> bytes:
    return value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]


@pytest.mark.heavy
def test_what_the_senders_libraries_sign_is_accepted_and_one_flipped_bit_is_not(
    settings: Settings, connection: Connection, redis: Redis
) -> None:
    with hook_api(settings, connection, redis) as api:
        api.connectors.create("crm")
        hooks = {scheme: api.new_hook(scheme)[1] for scheme in _SCHEMES}
        headers = signed({scheme: hook.secret for scheme, hook in hooks.items()})
        assert headers.keys() == set(_SCHEMES)

        for scheme, hook in hooks.items():
            sent = {**JSON, **headers[scheme]}
            header = next(name for name in sent if name.lower().endswith(("signature", "256")))
            tampered: dict[str, Any] = {**sent, header: flipped(sent[header].encode(), -2).decode()}
            assert_refused(api.post(hook, flipped(_BODY, 20), sent), 401, "unauthorized")
            assert_refused(api.post(hook, _BODY, tampered), 401, "unauthorized")
            assert_accepted(api.post(hook, _BODY, sent))
