"""drain: items per second of one worker on a loaded lane, beside the same rows merged by plain SQL in the same server.

The lane is loaded through the API, which is stopped before the worker starts. The time counts from the first entry that
is read, without the start of the process. The floors write the same rows with psql.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.driver import send_all
from benchmarks.load import Job
from benchmarks.measure import BenchmarkError, Effort, Say, in_turn
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines
from operations.local.binaries import find_postgres_bin

_ITEMS: Final = 1_000_000
_DISTINCT: Final = 200_000
#: Rows that a worker merges in one transaction; the floor does the same.
_ROWS_A_SLICE: Final = 20_000
_START_SECONDS: Final = 60
_STORY: Final = f"""A lane with {_ITEMS:,} items in batches of {bodies.BATCH}, drawn at random from the batches that
{_DISTINCT:,} ids make (8 fields, every item changed each time); one worker. Beside it, with psql: the same rows in the
same order, {_ROWS_A_SLICE:,} a transaction, each by `COPY` into a temporary table, the newest of each id, and `INSERT
… ON CONFLICT`; and `COPY` of them into a table without an index. The tables are empty before each run, and a
checkpoint has just been made. Nothing is pinned to a core."""
_ROW_COLUMNS: Final = "version bigint, id text, name text, fields jsonb, tags jsonb"
_MERGE: Final = """
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT DISTINCT ON (id) 2, 'agents', id, name, fields, tags, version, now() FROM incoming ORDER BY id, version DESC
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags, version = excluded.version,
    updated_at = excluded.updated_at
WHERE items.version < excluded.version;
"""


@dataclass(frozen=True)
class Drained:
    """The result of draining a loaded installation."""

    items_a_second: float
    wal_bytes: int
    #: Peak resident memory of each worker in MB.
    worker_mb: list[float]


def missing() -> list[str]:
    """Return nothing: psql comes with the engines."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure one worker and two floors."""
    job = _job(effort)
    with running_engines() as engines, installation(engines) as ours, _rows(job) as folder:
        merge, copy = "COPY, INSERT … ON CONFLICT", "COPY alone"
        runs = {
            merge: lambda: _psql(ours, folder / "merge.sql", job),
            "one worker": lambda: _one_worker(ours, job, say),
            copy: lambda: _psql(ours, folder / "copy.sql", job),
        }
        found = in_turn(runs, effort.rounds, say, "items/s")
    section = Section("drain: items a second of one worker", _STORY, [Table(["what", "items/s", "of the floor"])])
    for name, figure in found.items():
        section.tables[0].rows.append([name, figure.text(), f"{figure.over(found[merge]):.2f}"])
    section.figures["drain_rate"] = found["one worker"]
    section.figures["drain_ratio"] = found["one worker"].ratio(found[merge])
    section.charts = [Chart("drain", "items/s", [[Bar(name, figure) for name, figure in found.items()]])]
    return section


def _job(effort: Effort) -> Job:
    items, distinct = effort.count(_ITEMS), effort.count(_DISTINCT)
    return Job(0, [], requests=items // bodies.BATCH, ids=distinct, shuffled=True)


def _one_worker(ours: Installation, job: Job, say: Say) -> float:
    fill_lanes(ours, job)
    say(f"{ours.pending():,} entries wait")
    _empty_tables(ours)
    return drain(ours).items_a_second


def fill_lanes(ours: Installation, job: Job) -> None:
    """Send the requests of a job through an API, while no worker runs."""
    with ours.api():
        send_all(ours, msgspec.structs.replace(job, port=ours.port, credentials=ours.credentials))


def drain(ours: Installation, workers: int = 1) -> Drained:
    """Drain the lanes, and measure from the first entry that is read until they are empty."""
    before, log, positions = ours.applied_items(), ours.wal_bytes(), ours.positions()
    with ours.workers(workers) as started:
        deadline = time.monotonic() + _START_SECONDS
        while ours.positions() == positions:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"The workers read nothing in {_START_SECONDS} s.")
            time.sleep(0.002)  # a worker does not report when it begins
        begun = time.monotonic()
        ended = ours.wait_until_drained()
        memory = [process.memory_mb("VmHWM") for process in started]
    return Drained((ours.applied_items() - before) / (ended - begun), ours.wal_bytes() - log, memory)


def _psql(ours: Installation, script: Path, job: Job) -> float:
    """Run a script with psql; return items per second."""
    _empty_tables(ours)
    psql = [str(find_postgres_bin() / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    started = time.monotonic()
    subprocess.run([*psql, ours.database_url, "--file", str(script)], check=True)
    return (job.requests or 0) * job.batch / (time.monotonic() - started)


def _empty_tables(ours: Installation) -> None:
    ours.connection.execute("DROP TABLE IF EXISTS copied")
    ours.connection.execute(f"CREATE TABLE copied ({_ROW_COLUMNS})".encode())
    ours.connection.execute("TRUNCATE items, receipts")
    ours.connection.execute("CHECKPOINT")


@contextlib.contextmanager
def _rows(job: Job) -> Iterator[Path]:
    """Write the rows as files for COPY, one for each slice, with the scripts that load them."""
    batches = bodies.templates(job.ids, job.batch, job.batches)
    texts = [bodies.cut(_copy_text(bodies.fill(one, bodies.PLACE))) for one in batches]
    order = bodies.sequence(job.requests or 0, len(batches), shuffled=True)
    step = _ROWS_A_SLICE // job.batch
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as name:
        folder, merge, copy = Path(name), [], []
        for start in range(0, len(order), step):
            path = folder / f"{start}.tsv"
            with path.open("wb") as file:
                for number in range(start, min(start + step, len(order))):
                    file.write(bodies.fill(texts[order[number]], bodies.FIRST_STAMP + number))
            merge.append(
                f"BEGIN;\nCREATE TEMPORARY TABLE incoming ({_ROW_COLUMNS}) ON COMMIT DROP;\n"
                f"\\copy incoming FROM '{path}'\n{_MERGE}COMMIT;\n"
            )
            copy.append(f"\\copy copied FROM '{path}'\n")
        (folder / "merge.sql").write_text("".join(merge))
        (folder / "copy.sql").write_text("".join(copy))
        yield folder


def _copy_text(body: bytes) -> bytes:
    """Return a batch as lines for COPY, in which the number is the version too."""
    rows = []
    for one in msgspec.json.decode(body)["items"]:
        fields, tags = msgspec.json.encode(one["fields"]), msgspec.json.encode(one["tags"])
        columns = [b"%d" % bodies.PLACE, one["id"].encode(), one["name"].encode(), fields, tags]
        rows.append(b"\t".join(column.replace(b"\\", b"\\\\") for column in columns) + b"\n")
    return b"".join(rows)
