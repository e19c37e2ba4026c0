"""The lanes of a running installation are doubled, by a command that is killed, while connectors submit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.doubling import run


@pytest.mark.heavy
def test_nothing_is_missing_doubled_or_out_of_order(tmp_path: Path) -> None:
    found = run(tmp_path, connectors=24, seconds=4, kills=2)

    assert found["faults"] == []
    assert found["lanes"] == [16, 32]
    assert found["moved"]
    assert found["accepted"] > found["connectors"]
