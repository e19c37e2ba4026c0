"""The architecture that a reader may rely on: which room may import which, and where each kind of fact is kept."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("emulator", "ingest_api", "workers", "operations", "shared")

#: All of `shared`: what a room of processes works with.
SHARED = {
    "shared",
    "shared.kinds",
    "shared.redis",
    "shared.postgres",
    "shared.credentials",
    "shared.hooks",
    "shared.process",
}
#: What each room may import beside itself. The API, the workers and the operators' commands meet in `shared` only, and
#: nothing imports `operations.local`, which is for one machine. `shared` alone stands for its single modules: limits,
#: wire format, request ids. A room's entry covers the packages in it, unless these have entries of their own.
MAY_IMPORT: dict[str, set[str]] = {
    # Runs the code of both sides in one process.
    "emulator": {"ingest_api", "workers", *SHARED},
    "ingest_api": SHARED,
    "workers": SHARED - {"shared.hooks"},
    "operations": SHARED,
    "operations.cli": {"emulator", "operations", *SHARED},
    "operations.api": {"operations", "shared", "shared.kinds", "shared.redis", "shared.hooks"},
    "operations.canary": {"shared.process"},
    "operations.console": {"operations", "operations.api", *(SHARED - {"shared.credentials"})},
    "operations.local": {"shared", "shared.process"},
    "shared": {"shared.kinds"},
    "shared.kinds": {"shared"},
    "shared.redis": {"shared"},
    "shared.postgres": {"shared", "shared.kinds"},
    "shared.credentials": {"shared", "shared.redis", "shared.postgres"},
    "shared.hooks": {"shared.redis"},
    "shared.process": {"shared", "shared.redis", "shared.postgres"},
}


def sources(*folders: str) -> Iterator[Path]:
    for package in folders or PACKAGES:
        found = sorted((ROOT / package).rglob("*.py"))
        assert found, f"{package} has no sources"
        yield from found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """Return the room of a module: the longest entry of the table that its name begins with."""
    return max((room for room in MAY_IMPORT if f"{module}.".startswith(f"{room}.")), key=len)


@cache
def imports(path: Path) -> list[str]:
    """Return the full names that a file imports: `a.b` for `from a import b`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def files(condition: re.Pattern[str]) -> set[str]:
    """Return the product files whose text matches."""
    return {str(path.relative_to(ROOT)) for path in sources() if condition.search(path.read_text("utf-8"))}


def test_each_room_imports_only_the_rooms_that_the_table_allows() -> None:
    forbidden = {
        f"{module_of(path)} imports {name}"
        for path in sources()
        for name in imports(path)
        if name.split(".")[0] in PACKAGES
        and room_of(name) not in {room_of(module_of(path)), *MAY_IMPORT[room_of(module_of(path))]}
    }

    assert forbidden == set()


def test_every_folder_of_shared_is_a_room_of_the_table() -> None:
    assert {f"shared.{path.parent.name}" for path in ROOT.glob("shared/*/__init__.py")} <= MAY_IMPORT.keys()


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in sources()}

    def imported(path: Path) -> set[str]:
        return {name if name in modules else name.rpartition(".")[0] for name in imports(path)} & modules.keys()

    graph = {module: imported(path) - {module} for module, path in modules.items()}

    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)


def test_the_fold_touches_neither_redis_nor_postgres_nor_the_clock() -> None:
    found = {name.split(".")[0] for name in imports(ROOT / "workers" / "fold.py")}

    assert found & {"redis", "psycopg", "starlette", "time", "datetime", "rq"} == set()


def test_only_the_settings_and_entry_points_read_the_environment() -> None:
    readers = {path for path in files(re.compile(r"os\.environ")) if not path.startswith("operations/local/")}

    assert readers <= {
        "shared/process/settings.py",
        "shared/process/startup.py",
        "workers/health.py",  # reads settings without importing what processes need
        "ingest_api/__main__.py",  # tells a folder to the processes that it starts
        "operations/cli/session.py",
        "operations/cli/output.py",  # the width of a terminal
    }


def test_redis_names_are_built_in_one_module() -> None:
    assert files(re.compile(r"\{lane-|[\"']ingest:")) == {"shared/redis/names.py"}


def test_sql_statements_are_in_sql_files() -> None:
    statement = re.compile(r"[\"'](SELECT|INSERT INTO|UPDATE|DELETE FROM)\s+\w", re.IGNORECASE)

    # The register of migrations precedes every file; operations/local asks a bare server whether it is up.
    assert files(statement) <= {"shared/postgres/migrations/__init__.py", "operations/local/postgres.py"}


def test_nothing_of_postgres_outlives_a_transaction() -> None:
    """A pooler may give the next transaction another session."""
    session = re.compile(
        r"pg_(?:try_)?advisory_(?:un)?lock\b|\bLISTEN\b|WITH HOLD|\bTEMP(?:ORARY)? TABLE\b"
        r"|[\"']SET (?!LOCAL\b)\w+ (?:=|TO) |prepare=True"
    )
    statements = [path for path in ROOT.glob("shared/postgres/**/*.sql") if session.search(path.read_text("utf-8"))]

    assert statements == []
    assert files(session) == set()


def test_only_the_shared_connections_open_cursors_and_connections() -> None:
    # One streams rows, within a transaction; the other asks a bare server whether it is up.
    assert files(re.compile(r"\.cursor\(")) == {"operations/cli/session.py"}
    assert files(re.compile(r"psycopg\.(?:Async)?[cC]onnect(?:ion\.connect)?\(")) <= {"operations/local/postgres.py"}


@pytest.mark.parametrize("folder", ["system", "support", "soak"])
def test_system_tests_and_soak_import_no_product_code(folder: str) -> None:
    own = {"tests.preloaded", "tests.soak", "tests.support"}
    imported = {
        f"{path.name} imports {name}"
        for path in [*sources(f"tests/{folder}"), ROOT / "tests" / "preloaded.py"]
        for name in imports(path)
        if name.split(".")[0] in PACKAGES or (name.startswith("tests.") and ".".join(name.split(".")[:2]) not in own)
    }

    assert imported == set()


def test_system_tests_hold_only_tests() -> None:
    # schemathesis reads its hooks beside the test that starts it.
    others = {path.name for path in sources("tests/system") if not path.name.startswith("test_")}

    assert others <= {"schemathesis_hooks.py", "conftest.py", "__init__.py"}
