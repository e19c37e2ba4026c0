"""Every script says what it takes and what it returns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.redis import scripts

FOLDER = Path(scripts.__file__).parent


def test_every_file_is_listed_and_every_listed_script_is_a_file() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.lua")) == sorted(scripts.NAMES)


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_header_names_each_key_and_argument_that_the_script_uses(name: str) -> None:
    text = scripts.source(name)
    header = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))

    for kind in ("KEYS", "ARGV"):
        used = set(re.findall(rf"{kind}\[(\d+)\]", code))
        described = set(re.findall(rf"{kind}\[(\d+)\]", header))
        assert used <= described, f"{name}: {kind} {used - described} stand in no header"
    assert "Returns" in header
