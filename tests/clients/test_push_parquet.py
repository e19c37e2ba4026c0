"""`inspire push` of a Parquet file, with the real pyarrow, which is installed into an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.peers.environments import VirtualEnvironment
from tests.clients.service import Service
from tests.support.installed import installed, run
from tests.support.processes import ROOT

PROJECT = Path(__file__).with_name("parquet")
PUSH = ("-W", "error", "-m", "inspire_ingest", "push", "--json", "--stream", "agents")
EXPECTED = {
    "local": "2023-11-14T22:13:20.120000",
    "zoned": "2023-11-14T23:13:20.123456789+01:00",
    "utc": "2023-11-14T22:13:20+00:00",
    "day": "2023-11-14",
    "clock": "01:00:00.000000001",
    "took": "PT90.5S",
    "took_ns": 1,
    "price": "1.10",
    "big": 2**63 - 1,
    "bigger": 2**64 - 1,
    "real": "NaN",
    "flag": True,
    "raw": "AP8=",
    "word": "é",
    "nothing": None,
    "nested": '{"at": "2023-11-14 22:13:20.000000001", "n": [1.5, "Infinity"], "big": 1152921504606846976}',
    "pairs": '[["k", 1]]',
}


@pytest.mark.heavy
def test_each_type_is_sent_exactly_and_a_broken_file_is_one_sentence(service: Service, tmp_path: Path) -> None:
    python = installed(VirtualEnvironment(PROJECT)).python
    environment = {
        "PYTHONPATH": str(ROOT / "clients" / "python" / "src"),
        "INSPIRE_BASE_URL": service.url,
        "INSPIRE_INGEST_KEY": "ik_test",
    }
    run(python, PROJECT / "write_rows.py", "rows.parquet", folder=tmp_path)

    told = json.loads(run(python, *PUSH, "rows.parquet", folder=tmp_path, environment=environment))

    assert (told["rows"], told["accepted"]) == (2, 2)
    assert service.rows[0] == {"id": str(2**60), "fields": EXPECTED}
    assert service.rows[1] == {"id": "7", "fields": dict.fromkeys(EXPECTED)}
    whole = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:100])
    (tmp_path / "damaged.parquet").write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    for name in ("cut.parquet", "damaged.parquet"):
        done = subprocess.run(
            [python, *PUSH, name],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert f"{name} can't be read: " in done.stderr
