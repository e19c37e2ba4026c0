"""The recipes of the documentation do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.clients.service import Service
from tests.support.processes import ROOT


def run(service: Service, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of Python that finds the client, and the service in its environment."""
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        input=given,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "clients" / "python" / "src"),
            "INSPIRE_BASE_URL": service.url,
            "INSPIRE_INGEST_KEY": "ik_test",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_first_ten_lines_get_a_202(service: Service) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "connectors.md").read_text(), re.DOTALL)
    assert code

    done = run(service, "-c", code[1])

    assert (done.returncode, done.stdout[:14]) == (0, "accepted: req_"), done.stderr
    assert service.ids == ["agent-1001"]


def test_a_singer_target_prints_a_state_after_its_records_are_accepted(service: Service) -> None:
    record = {"type": "RECORD", "stream": "orders"}
    messages = [
        {"type": "SCHEMA", "stream": "orders", "key_properties": ["shop", "no"], "schema": {}},
        {**record, "record": {"shop": "a", "no": 1, "total": 1.5, "lines": [{"n": 1}], "paid": None}},
        {**record, "record": {"shop": "a", "no": 2, "_sdc_deleted_at": "2026-04-09T11:08:00Z"}},
        {"type": "STATE", "value": {"orders": 2}},
        {**record, "record": {"shop": "b", "no": 3, "bad": 1}},
        {**record, "record": {"shop": "b", "no": 4}},
    ]
    target = ROOT / "clients" / "python" / "examples" / "singer_target.py"

    done = run(service, str(target), given="".join(f"{json.dumps(message)}\n" for message in messages))

    assert (done.returncode, done.stdout) == (0, '{"orders": 2}\n'), done.stderr
    assert service.ids == ["a:1", "a:2", "b:4"]
    assert service.rows[0]["fields"] == {"shop": "a", "no": 1, "total": 1.5, "lines": '[{"n": 1}]', "paid": None}
    assert service.rows[1] == {"id": "a:2", "deleted": True}
    assert "'b:3'" in done.stderr
