"""Every script says what it takes and returns, and the table of keys in `names.py` lists the scripts that use a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.redis import names, scripts

#: Users of a key in the table that are not scripts.
PROCESSES = {"API", "credential sync", "drain", "operators", "sweeper"}
#: What scripts' headers call a key, if not by its own name.
WORDS = {"key_ids": "key ids", "questions": "bucket"}


def header(name: str) -> str:
    return "\n".join(line for line in scripts.source(name).splitlines() if line.startswith("--"))


def table() -> dict[str, set[str]]:
    """Return the users of each key, from the table in the docstring of `names.py`."""
    assert names.__doc__
    users: dict[str, set[str]] = {}
    key = ""
    for line in names.__doc__.split("|--", 1)[1].splitlines()[1:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        key = cells[0].partition(":")[0] or key
        users.setdefault(key, set()).update(user for cell in cells[3:] for user in re.split(r", ?", cell) if user)
    return users


def test_every_script_is_found() -> None:
    folder = Path(scripts.__file__).parent
    assert sorted(path.stem for path in folder.glob("*.lua")) == list(scripts.NAMES)


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_header_names_each_key_and_argument_that_the_script_uses(name: str) -> None:
    code = "\n".join(line for line in scripts.source(name).splitlines() if not line.startswith("--"))

    for kind in ("KEYS", "ARGV"):
        used = set(re.findall(rf"{kind}\[(\d+)\]", code))
        described = set(re.findall(rf"{kind}\[(\d+)\]", header(name)))
        assert used <= described, f"{name}: {kind} {used - described} stand in no header"
    assert "Returns" in header(name)


def test_the_table_of_keys_names_scripts_and_processes_that_exist() -> None:
    assert set[str]().union(*table().values()) <= {*scripts.NAMES, *PROCESSES}


@pytest.mark.parametrize("name", scripts.NAMES)
def test_the_table_lists_a_script_at_each_key_that_its_header_takes(name: str) -> None:
    takes = re.search(r"^-- KEYS\[1\].*?(?=^--(?: ARGV|\n))", header(name), re.DOTALL | re.MULTILINE)
    assert takes

    described = {key for key in table() if re.search(rf"\b{WORDS.get(key, key)}\b", takes[0])}
    assert described == {key for key, users in table().items() if name in users}


def test_the_table_lists_every_key_of_a_lane() -> None:
    keys = names.lane_keys(7)
    built = {*vars(keys).values(), keys.credential("k"), keys.bucket("k"), keys.read_bucket("k")}
    built.add(keys.idempotency(1, "h"))

    assert {name.split(":")[1] for name in built if ":" in name} == table().keys()
