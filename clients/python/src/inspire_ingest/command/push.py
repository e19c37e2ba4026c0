"""`inspire push`: send the rows of a file or a query as the items of a stream."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from inspire_ingest.connector import Connector, Stream
from inspire_ingest.encoding import Encoder, any_text
from inspire_ingest.errors import ConfigurationError, InvalidRow
from inspire_ingest.logs import exit_on_sigterm
from inspire_ingest.results import Result

from .files import FORMATS, open_file
from .output import print_document
from .progress import Progress
from .reading import Reading
from .rejects import Rejects
from .shaping import Item, Shape
from .sources import Bad, Source
from .sql import Query
from .state import State, StateFile

DESCRIPTION = """\
Send the rows of a file or a query as the items of a stream.

Nested values are sent as their JSON text. A row that is refused keeps no other row back; see --rejects. Ctrl-C sends
what was read, for a while, and leaves a state: the same command goes on from there.
"""
#: Exit codes: some rows were rejected; Ctrl-C, as shells have it.
REJECTED, INTERRUPTED = 3, 130
#: Rows between two looks at the clock.
_LOOK_ROWS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("file", nargs="?", help="CSV, JSON lines (both also as .gz) or Parquet; - is the standard input")
    add("--stream", required=True, metavar="NAME", help="the stream to send to")
    add("--id", default="id", metavar="COLUMN", help="column of the item's id (id)")
    add("--name", metavar="COLUMN", help="column of the item's name")
    add("--tag", action="append", default=[], metavar="COLUMN", help="column that is a tag; may be repeated")
    add("--field", action="append", metavar="COLUMN", help="column that is a field; may be repeated (all others)")
    add("--format", choices=FORMATS, help="format of the file, if its name does not tell it")
    add("--delimiter", metavar="C", help="between the cells of a CSV (, or a tab for .tsv)")
    add("--sql", metavar="QUERY", help="send the rows of a query; :cursor in it is the value that the state holds")
    add("--dsn", metavar="URL", help="database of --sql: sqlite:///path or postgresql://…")
    add("--cursor", metavar="COLUMN", help="column of the query, in its order, whose last value the state keeps")
    add("--cursor-start", metavar="VALUE", type=_value, help="value of :cursor while there is no state: JSON, or text")
    add("--state", type=Path, metavar="FILE", help="where the state is (FILE.push-state; needed by --cursor)")
    add("--retain", action="store_true", help="afterwards, remove the stream's items that were not among the rows")
    add("--at-most", type=int, metavar="N", help="--retain removes so many items, or none")
    add("--rejects", type=Path, metavar="FILE", help="write rejected rows here, as JSON lines, with what is wrong")
    add("--dry-run", action="store_true", help="read all rows and send none")
    add("--grace", type=float, default=10.0, metavar="S", help="after Ctrl-C, send what was read for so long (10)")
    add("--wait", action="store_true", help="wait until all rows are applied")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def run(arguments: argparse.Namespace) -> int:
    """Push; return the exit code."""
    exit_on_sigterm()
    kept = _state_file(arguments)
    state = kept.read() if kept else State()
    source = _source(arguments, state)
    if state.identity and state.identity != source.identity:
        state = State()
    with closing(source), closing(Rejects(arguments.rejects)) as rejects:
        push = Push(arguments, source, state, kept, rejects)
        return push.dry_run() if arguments.dry_run else push.send()


def _source(arguments: argparse.Namespace, state: State) -> Source:
    if bool(arguments.sql) == bool(arguments.file) or bool(arguments.sql) != bool(arguments.dsn):
        message = "Give a file, or --sql with --dsn."
        raise ConfigurationError(message)
    if arguments.cursor and not (arguments.sql and arguments.state):
        message = "--cursor needs --sql, and --state with the file that keeps its value."
        raise ConfigurationError(message)
    if arguments.retain and arguments.cursor:
        message = "--retain needs all rows, and a cursor leaves out what was sent before: use one of them."
        raise ConfigurationError(message)
    if arguments.sql:
        start = arguments.cursor_start if state.cursor is None else state.cursor
        return Query(arguments.dsn, arguments.sql, start)
    return open_file(arguments.file, arguments.format, arguments.delimiter)


def _state_file(arguments: argparse.Namespace) -> StateFile | None:
    if arguments.state:
        return StateFile(arguments.state)
    is_file = arguments.file and arguments.file != "-"
    return StateFile(Path(f"{arguments.file}.push-state")) if is_file else None


class Push:
    """One run."""

    def __init__(
        self, arguments: argparse.Namespace, source: Source, state: State, kept: StateFile | None, rejects: Rejects
    ) -> None:
        self._arguments = arguments
        self._source = source
        self._state = state
        self._kept = kept
        self._rejects = rejects
        self._shape = Shape(arguments.id, arguments.name, arguments.tag, arguments.field)
        self._progress = Progress(shown=not arguments.json)
        self._read = Reading(state)

    def dry_run(self) -> int:
        """Read all rows, and print what would be sent first."""
        encoder, first = Encoder(any_text), ""
        for item in self._items():
            try:
                text = encoder.item(*item).decode()
            except InvalidRow as error:
                self._rejects.add(item[0], "not_encodable", str(error))
                continue
            first = first or text
        told = {"rows": self._read.rows, "rejected": self._rejects.count, "first": json.loads(first or "null")}
        return self._end(told)

    def send(self) -> int:
        """Send all rows."""
        connector = Connector.from_env(on_rejected="collect", convert=any_text)
        stream = connector.stream(self._arguments.stream)
        try:
            self._send_all(connector, stream)
        except (KeyboardInterrupt, SystemExit) as interruption:
            self._progress.clear()
            sys.stderr.write("Interrupted: what was read is sent.\n")
            unsent = connector.close(self._arguments.grace).items
            self._keep(stream.result)
            self._end({**self._told(stream.result), "unsent": unsent})
            return int(interruption.code or 0) if isinstance(interruption, SystemExit) else INTERRUPTED
        except BaseException:
            connector.close(0)
            self._keep(stream.result)
            raise
        connector.close()
        self._forget()
        return self._end(self._told(stream.result))

    def _send_all(self, connector: Connector, stream: Stream) -> None:
        for item in self._items():
            if self._read.rows > self._state.rows:
                self._read.put()
                stream.put(*item)
            if self._read.rows % _LOOK_ROWS == 0 and self._progress.is_due:
                self._look(stream.result)
        arguments = self._arguments
        if arguments.retain:
            connector.retain(arguments.stream, self._read.ids, at_most=arguments.at_most)
        stream.flush(wait="applied" if arguments.wait else "accepted")

    def _items(self) -> Iterator[Item]:
        arguments = self._arguments
        for row in self._source.rows():
            if isinstance(row, Bad):
                self._read.rows += 1
                self._rejects.add(row.row, "not_a_row", row.message)
                continue
            if not self._read.rows:
                self._shape.check(row)
            self._read.took(row, arguments.cursor)
            try:
                item = self._shape.item(row)
            except InvalidRow as error:
                self._rejects.add(row, "not_encodable", str(error))
                continue
            if arguments.retain:
                self._read.ids.append(str(item[0]))
            yield item

    def _look(self, result: Result) -> None:
        self._keep(result)
        source = self._source
        share = source.done() / source.total if source.total else 0.0
        self._progress.show(accepted=result.items, rejected=self._rejects.count, share=share)

    def _keep(self, result: Result) -> None:
        """Write down how far the push is."""
        settled = result.items + result.rejected_items
        self._rejects.take(result)
        rows, cursor = self._read.settled(settled - self._rejects.unsent)
        state = State(self._source.identity, 0 if self._arguments.cursor else max(rows, self._state.rows), cursor)
        if self._kept is not None and self._source.identity and (state.rows or cursor is not None):
            self._kept.write(state)

    def _forget(self) -> None:
        if self._kept is None:
            return
        if self._arguments.cursor:
            self._kept.write(State(self._source.identity, cursor=self._read.cursor))
        else:
            self._kept.delete()

    def _told(self, result: Result) -> dict[str, Any]:
        self._rejects.take(result)
        return {
            "rows": self._read.rows,
            "skipped": min(self._state.rows, self._read.rows),
            "accepted": result.items,
            "rejected": self._rejects.count,
            "unsent": 0,
            "batches": result.batches,
            "retries": result.retries,
            "lastRequestId": result.request_ids[-1] if result.request_ids else None,
        }

    def _end(self, told: dict[str, Any]) -> int:
        self._progress.clear()
        print_document({**told, "seconds": round(self._progress.seconds, 3)}, as_json=self._arguments.json)
        self._rejects.tell()
        return REJECTED if self._rejects.count else 0
