"""Files and functions stay small: a file over 300 lines has two subjects, a function over 40 lines has two tasks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("emulator", "ingest_api", "workers", "operations", "shared", "tests", "benchmarks", "clients")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40


def too_long() -> Iterator[str]:
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*")):
        if path.suffix not in {".py", ".lua", ".sql"}:
            continue
        name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
        if len(text.splitlines()) > MAX_FILE_LINES:
            yield name
        for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{name}:{node.name}"


def test_no_file_and_no_function_is_longer() -> None:
    assert sorted(too_long()) == []
