"""Passwords of operators cost as much to guess as RFC 9106 recommends."""

from __future__ import annotations

from operations.passwords import hash_password, is_password


def test_a_hash_has_64_mib_and_three_passes() -> None:
    stored = hash_password("correct horse")

    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_password("correct horse", stored)
