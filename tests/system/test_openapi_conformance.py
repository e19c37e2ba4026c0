"""The API does what its OpenAPI document says, as far as schemathesis can make it do otherwise.

It makes requests of the document, right ones and wrong ones, and follows the links from a 202; every answer must be one
that the document tells of, with its headers and shape. `schemathesis.toml` has its settings, `schemathesis_hooks.py`
what JSON Schema can't say of right data.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Connector, get
from tests.support.processes import ROOT, environment
from tests.support.stack import Stack

_HERE = Path(__file__).parent
#: It takes a third of this on two slow cores.
_LONGEST_SECONDS = 300.0


# `drawn` is the number of requests of each kind for each operation, beside examples, links and, in the phase
# `coverage`, requests at the bounds of each rule.
@pytest.mark.parametrize(
    ("drawn", "phases"),
    [
        (4, "examples,fuzzing,stateful"),
        pytest.param(40, "examples,coverage,fuzzing,stateful", marks=pytest.mark.heavy),
    ],
)
def test_api_and_document_agree(
    stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path, drawn: int, phases: str
) -> None:
    connector = new_connector(stack)

    tried = schemathesis(connector, drawn, phases, folder=tmp_path)

    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "No issues found" in tried.stdout, tried.stdout
    # What was accepted is applied: nothing that the document allows is a dead letter, except for what `atMost` stopped.
    stack.lanes_are_empty()
    assert stack.count("receipts", connector) > drawn
    reasons = stack.rows("SELECT DISTINCT reason FROM dead_letters WHERE connector_id = %s", connector.id)
    assert [row["reason"] for row in reasons if row["reason"] != "too_many_removals"] == []


def schemathesis(connector: Connector, drawn: int, phases: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    words: list[str | Path] = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", _HERE / "schemathesis.toml"),
        *("run", f"{connector.url}/openapi.json", "--header", f"Authorization: Bearer {connector.credential}"),
        # One worker: in several, Python 3.11 itself fails now and then ("AST constructor recursion depth mismatch").
        *("--workers", "1", "--max-examples", str(drawn), "--phases", phases, "--continue-on-failure", "--no-color"),
        *("--generation-database", "none"),
    ]
    # Hypothesis keeps there which characters can be encoded, which takes 3 s of CPU to find out.
    kept = ROOT / ".hypothesis"
    settings = environment(SCHEMATHESIS_HOOKS=_HERE / "schemathesis_hooks.py", HYPOTHESIS_STORAGE_DIRECTORY=kept)
    return subprocess.run(
        words, env=settings, cwd=folder, capture_output=True, text=True, check=False, timeout=_LONGEST_SECONDS
    )


def test_document_is_the_same_under_both_base_urls(stack: Stack) -> None:
    answers = [get(f"{stack.url}{prefix}/openapi.json") for prefix in ("", "/datapool")]

    told = [answer.json() for answer in answers]
    assert [answer.headers["X-Request-Id"] for answer in answers] == [one.pop("x-request-id") for one in told]
    assert told[0] == told[1]
    assert [server["url"] for server in told[0]["servers"]] == ["/", "/datapool"]
