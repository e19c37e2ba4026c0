"""Signature schemes: the vectors that senders publish are accepted, and whatever differs from them is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest

from shared.hooks.schemes import GITHUB, HMAC, SCHEMES, SHOPIFY, STANDARD, STRIPE, Claim, Scheme

STRIPE_BODY = b'{\n  "id": "evt_test_webhook",\n  "object": "event"\n}'
STRIPE_MAC = hmac.digest(b"whsec_test_secret", b"1492774577." + STRIPE_BODY, "sha256").hex()
SHOPIFY_BODY = b'{"id":820982911946154508,"email":"jon@example.com"}'
SHOPIFY_MAC = base64.b64encode(hmac.digest(b"hush", SHOPIFY_BODY, "sha256"))
#: Scheme, secret, body and headers. GitHub's and Standard Webhooks' are those of their documentation, the others follow
#: what theirs describe.
VECTORS: dict[str, tuple[Scheme, str, bytes, dict[str, bytes]]] = {
    "github": (
        GITHUB,
        "It's a Secret to Everybody",
        b"Hello, World!",
        {"x-hub-signature-256": b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    ),
    "standard": (
        STANDARD,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        {
            "webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": b"1614265330",
            "webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
    ),
    "stripe": (
        STRIPE,
        "whsec_test_secret",
        STRIPE_BODY,
        {"stripe-signature": f"t=1492774577,v1={STRIPE_MAC},v0={'6' * 64}".encode()},
    ),
    "shopify": (SHOPIFY, "hush", SHOPIFY_BODY, {"x-shopify-hmac-sha256": SHOPIFY_MAC}),
    "hmac": (
        HMAC,
        "key",
        b"The quick brown fox jumps over the lazy dog",
        {"x-signature": b"F7BC83F430538424B13298E6AA6FB143EF4D59A14946175997479DBC2D1A3CD8"},
    ),
}
every_scheme = pytest.mark.parametrize("name", VECTORS)

#: What the senders' own libraries made of a body, each with a secret: `make proof` runs them again.
LIBRARY_BODY = '{"item":"agent-1","name":"Alice é"}'.encode()
LIBRARIES = {
    "github": (
        "a",
        {"x-hub-signature-256": b"sha256=2268b057c5eaeeecc603ade964338550f9f2d4901c6cad178debc6d462b956df"},
    ),
    "stripe": (
        "whsec_test_secret",
        {"stripe-signature": b"t=1795708072,v1=8d5c202517db4e4d585d05e4536f3177b42894bdcce48cd53174c34f3f22dbcf"},
    ),
    "shopify": ("hush", {"x-shopify-hmac-sha256": b"lwqsurKTFown9XGGMu/SdTlU+qTNkFgwFG4BuvwX7As="}),
    "standard": (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {
            "webhook-id": b"msg_1",
            "webhook-timestamp": b"1795708072",
            "webhook-signature": b"v1,SVOU/ExZe2ZR6csQDwCT8ZQ5u8rl9t/x49A18dxVgVs=",
        },
    ),
}


def claim_of(scheme: Scheme, headers: Mapping[str, bytes]) -> Claim | None:
    return scheme.read(lambda name: headers.get(name.decode()))


def accepts(scheme: Scheme, secret: str, body: bytes, headers: Mapping[str, bytes]) -> bool:
    claim = claim_of(scheme, headers)
    return claim is not None and claim.is_signed_with(scheme.key_of(secret), body)


def test_each_scheme_has_a_vector() -> None:
    assert VECTORS.keys() == SCHEMES.keys()


@every_scheme
def test_the_vector_is_accepted(name: str) -> None:
    assert accepts(*VECTORS[name])


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_the_senders_libraries_made_is_accepted(name: str) -> None:
    secret, headers = LIBRARIES[name]

    assert accepts(SCHEMES[name], secret, LIBRARY_BODY, headers)


@every_scheme
def test_every_flipped_bit_of_body_signature_time_and_id_is_refused(name: str) -> None:
    scheme, secret, body, headers = VECTORS[name]
    for position in range(len(body)):
        flipped = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        assert not accepts(scheme, secret, flipped, headers)
    for header, value in headers.items():
        for position in range(len(value)):
            flipped = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
            if name == "stripe" and position >= value.index(b",v0="):
                continue
            assert not accepts(scheme, secret, body, {**headers, header: flipped}), flipped


@every_scheme
def test_another_secret_a_missing_header_and_an_empty_one_are_refused(name: str) -> None:
    scheme, _, body, headers = VECTORS[name]
    assert not accepts(scheme, scheme.new_secret(), body, headers)
    for header in headers:
        assert not accepts(*VECTORS[name][:3], {**headers, header: b""})
        assert not accepts(*VECTORS[name][:3], {other: headers[other] for other in headers if other != header})


@every_scheme
def test_a_signature_in_another_encoding_is_refused(name: str) -> None:
    scheme, secret, body, headers = VECTORS[name]
    claim = claim_of(scheme, headers)
    assert claim
    mac = claim.signatures[0]
    encodings = {
        mac,
        mac.hex().encode(),
        base64.b64encode(mac),
        base64.urlsafe_b64encode(mac) + b"=",
        mac.hex()[:40].encode(),
    }
    own = scheme.header.decode()
    framed = {"github": b"sha256=%b", "standard": b"v1,%b", "stripe": b"t=1492774577,v1=%b"}.get(name, b"%b")
    accepted = [text for text in encodings if accepts(scheme, secret, body, {**headers, own: framed % text})]
    assert accepted == [mac.hex().encode() if scheme.decode(mac.hex().encode()[:64]) == mac else base64.b64encode(mac)]


def test_one_of_several_signatures_is_enough() -> None:
    _, secret, body, headers = VECTORS["stripe"]
    several = {"stripe-signature": f"t=1492774577,v1={'0' * 64},v1={STRIPE_MAC}".encode()}
    assert accepts(STRIPE, secret, body, several)
    assert not accepts(STRIPE, secret, body, {"stripe-signature": f"t=1492774577,v0={STRIPE_MAC}".encode()})
    _, secret, body, headers = VECTORS["standard"]
    signature = headers["webhook-signature"]
    for others in (b"v1,%b " % base64.b64encode(b"0" * 32), b"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5B "):
        assert accepts(STANDARD, secret, body, {**headers, "webhook-signature": others + signature})
    assert not accepts(STANDARD, secret, body, {**headers, "webhook-signature": signature.replace(b"v1", b"v2")})


@pytest.mark.parametrize("name", ["standard", "stripe"])
def test_a_time_stamp_is_timely_within_the_tolerance_only(name: str) -> None:
    claim = claim_of(VECTORS[name][0], VECTORS[name][3])
    assert claim
    assert claim.time
    near = [claim.is_timely(claim.time + seconds, 300) for seconds in (-300, 0, 300)]
    far = [claim.is_timely(claim.time + seconds, 300) for seconds in (-301, 301, 1e9)]
    assert (near, far) == ([True] * 3, [False] * 3)


def test_a_scheme_without_a_time_stamp_is_always_timely() -> None:
    claim = claim_of(GITHUB, VECTORS["github"][3])
    assert claim
    assert claim.is_timely(1e12, 1)


@every_scheme
def test_a_made_secret_can_be_used_and_differs_each_time(name: str) -> None:
    scheme = SCHEMES[name]
    made = {scheme.new_secret() for _ in range(10)}
    assert len(made) == 10
    assert all(len(scheme.key_of(secret)) >= 32 for secret in made)


def test_a_secret_of_standard_webhooks_is_base64_of_24_to_64_bytes() -> None:
    good = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert STANDARD.key_of(good) == STANDARD.key_of(f"whsec_{good}") == hashlib.sha256(b"").digest()
    for wrong in ("", "whsec_", "whsec_é", "whsec_not base64", "whsec_" + base64.b64encode(bytes(23)).decode()):
        with pytest.raises(ValueError, match="24 to 64 bytes in base64"):
            STANDARD.key_of(wrong)
