"""Load by wrk, as fast as the server answers."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import BenchmarkError
from benchmarks.processes import on_core

#: Makes one request for each credential, and sends them in turn.
_SCRIPT = """
local f = io.open("{folder}/body.json") local body = f:read("*a") f:close()
local requests, turn = {{}}, 0
function init(args)
  for credential in io.lines("{folder}/credentials") do
    local headers = {{["Authorization"] = "Bearer " .. credential, ["Content-Type"] = "application/json"}}
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


def missing() -> str | None:
    """Return what must be installed, '' if nothing."""
    return None if shutil.which("wrk") else "wrk is needed (Debian: `apt-get install wrk`)"


def requests_a_second(
    url: str, body: bytes, credentials: Sequence[str], *, seconds: float, connections: int = 64, core: int | None = None
) -> float:
    """Load `url`, whose every answer must be a success; return requests per second."""
    with tempfile.TemporaryDirectory() as folder, on_core(core):
        (Path(folder) / "body.json").write_bytes(body)
        (Path(folder) / "credentials").write_text("\n".join(credentials) + "\n")
        script = Path(folder) / "post.lua"
        script.write_text(_SCRIPT.format(folder=folder))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode or not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchmarkError(f"wrk failed on {url}:\n{done.stdout}{done.stderr}")
    if float(found[1]) == 0:
        raise BenchmarkError(f"{url} did not answer within {seconds:.0f} s.")
    return float(found[1])
