"""`inspire conform` judges connectors: the example keeps every rule, and a wrong one breaks only its own."""

from __future__ import annotations

import json
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from inspire_ingest.command import conform, main
from inspire_ingest.command.emulator import Emulator
from inspire_ingest.command.rules import RULES

from tests.support.emulated import emulating
from tests.support.processes import ROOT

EXAMPLE = ROOT / "clients" / "python" / "examples" / "conform.py"
WRONG = Path(__file__).with_name("wrong_connector.py")
PATIENCE = 8.0


@pytest.fixture(autouse=True)
def client_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "clients" / "python" / "src"))


def broken(folder: Path, *command: str) -> dict[str, str]:
    """Judge a connector; return what was seen of each rule that it breaks."""
    folder.mkdir()
    with emulating(folder) as started, closing(Emulator(started.url, started.first.credential)) as emulator:
        judgements = conform.judged(emulator, [sys.executable, *command], RULES, PATIENCE)
        found = {one.rule.name: one.seen for one in judgements}
    assert len(found) == len(RULES)
    return {name: seen for name, seen in found.items() if seen}


def broken_by_each(folder: Path, connectors: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Judge connectors at the same time, as they mostly wait."""
    with ThreadPoolExecutor(len(connectors)) as hands:
        judged = {
            name: hands.submit(broken, folder / name.replace(" ", "-"), *words) for name, words in connectors.items()
        }
    return {name: done.result() for name, done in judged.items()}


@pytest.mark.heavy
def test_a_connector_breaks_the_rule_that_it_breaks_and_no_other(tmp_path: Path) -> None:
    cases = {rule.name: [str(WRONG), rule.name] for rule in RULES[1:]}
    cases |= {"no rule": [str(WRONG)], "the example": ["-W", "error", str(EXAMPLE)]}

    seen = broken_by_each(tmp_path, cases)

    assert {name: [*found] for name, found in seen.items()} == {
        name: [name] if name in {rule.name for rule in RULES} else [] for name in cases
    }, seen


def test_the_example_keeps_every_rule_and_a_wrong_connector_breaks_its_own(tmp_path: Path) -> None:
    wrong = RULES[-1].name

    seen = broken_by_each(tmp_path, {"example": ["-W", "error", str(EXAMPLE)], "wrong": [str(WRONG), wrong]})

    assert {name: [*found] for name, found in seen.items()} == {"example": [], "wrong": [wrong]}, seen


def test_a_program_that_ends_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with emulating(tmp_path) as started:
        told = json.dumps({"url": started.url, "credential": started.first.credential})
        start = f"sh -c {shlex.quote(f'echo {shlex.quote(told)}')}"
        words = ["conform", "--json", "--patience", "0.5", "--emulator", start, "--", sys.executable, "-c", ""]
        code = main(words)

    (rule,) = json.loads(capsys.readouterr().out)["rules"]
    assert code == 1
    assert (rule["rule"], rule["passed"]) == ("rows-arrive", False)
    assert rule["seen"] == "5 of 5 rows did not arrive; it ended by itself"


def test_an_emulator_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--emulator", "no-such-program", "--", "true"]) == 1
    assert "--emulator" in capsys.readouterr().err
