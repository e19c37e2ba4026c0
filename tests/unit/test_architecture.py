"""The shape of the code that a reader may rely on: two sides, one middle; pure decisions; names in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("ingest_api", "workers", "operations", "shared")


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no sources"
    return found


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("ingest_api", {"workers", "operations"}),
        ("workers", {"ingest_api", "operations"}),
        ("operations", {"ingest_api", "workers"}),
        ("shared", {"ingest_api", "workers", "operations"}),
    ],
)
def test_the_two_sides_meet_only_in_shared(package: str, strangers: set[str]) -> None:
    met = {(path.name, name) for path in sources(package) for name in imports(path) if name.split(".")[0] in strangers}

    assert met == set()


def test_only_make_run_imports_the_local_installation() -> None:
    users = {
        str(path.relative_to(ROOT))
        for package in SIDES
        for path in sources(package)
        if any(name.startswith("operations.local") for name in imports(path))
    }

    assert {path for path in users if not path.startswith("operations/local/")} == set()


def test_the_fold_touches_neither_redis_nor_postgres_nor_the_clock() -> None:
    found = {name.split(".")[0] for name in imports(ROOT / "workers" / "fold.py")}

    assert found & {"redis", "psycopg", "starlette", "time", "datetime", "rq"} == set()


def test_only_the_settings_module_and_entry_points_see_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for package in SIDES
        for path in sources(package)
        if "os.environ" in path.read_text()
    }

    assert {path for path in readers if not path.startswith("operations/local/")} <= {
        "shared/process/settings.py",
        "shared/process/startup.py",
        "ingest_api/__main__.py",  # hands a folder to the processes that it starts
        "operations/cli/session.py",
        "operations/cli/output.py",  # the width of a terminal
    }


def test_redis_names_are_built_in_one_module() -> None:
    literal = re.compile(r"\{lane-|[\"']ingest:")
    builders = {path.name for package in SIDES for path in sources(package) if literal.search(path.read_text())}

    assert builders == {"names.py"}


def test_sql_stands_in_sql_files() -> None:
    statement = re.compile(r"[\"'](SELECT|INSERT INTO|UPDATE|DELETE FROM)\s+\w", re.IGNORECASE)
    writers = {
        str(path.relative_to(ROOT))
        for package in SIDES
        for path in sources(package)
        if statement.search(path.read_text("utf-8"))
    }

    # The ledger of migrations comes before any file can be applied; local/ asks a bare server whether it is up.
    assert writers <= {"shared/postgres/migrations/__init__.py", "operations/local/postgres.py"}


@pytest.mark.parametrize("folder", ["system", "support", "soak"])
def test_system_tests_and_soak_import_nothing_of_the_product(folder: str) -> None:
    own = {"tests.preloaded", "tests.soak", "tests.support"}
    met = {
        (path.name, name)
        for path in [*sources(f"tests/{folder}"), ROOT / "tests" / "preloaded.py"]
        for name in imports(path)
        if name.split(".")[0] in SIDES or (name.startswith("tests.") and ".".join(name.split(".")[:2]) not in own)
    }

    assert met == set()


def test_system_tests_hold_nothing_but_tests() -> None:
    # Read by schemathesis, and beside the test that starts it.
    hooks = {"schemathesis_hooks.py", "conftest.py"}
    others = {path.name for path in sources("tests/system") if not path.name.startswith("test_")}

    assert others <= hooks
