"""Each private part of a library in use is named here and exists, and its library is pinned to a minor version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import psycopg.errors
import pytest
from redis.asyncio.connection import BlockingConnectionPool, Connection
from rq.job import Job
from rq.scheduler import RQScheduler
from rq.worker import SimpleWorker
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("emulator", "ingest_api", "workers", "operations", "shared")
Owner = type | ModuleType

#: Undocumented as a whole: each name that a file shares with one of these counts as a use, with an underscore or not.
INTERNAL: set[Owner] = {
    ServerState,
    Connection,
    BlockingConnectionPool,
    Route,
    H11Protocol,
}
#: The private names in use, for each file and each class or module that defines them.
PRIVATE: dict[str, dict[Owner, str]] = {
    "ingest_api/http/protocol.py": {ServerState: "connections default_headers tasks total_requests"},
    "operations/console/protocol.py": {
        H11Protocol: "conn connection_lost connection_made loop on_response_complete transport"
    },
    "ingest_api/append.py": {
        Connection: "check_health disconnect read_response send_packed_command",
        BlockingConnectionPool: "disconnect get_connection release",
    },
    "ingest_api/routing.py": {Route: "app endpoint methods param_convertors path"},
    "workers/__main__.py": {SimpleWorker: "_install_signal_handlers _stop_requested"},
    "workers/schedule.py": {RQScheduler: "_connection"},
    "workers/tasks.py": {Job: "_failure_callback_name _stopped_callback_name _success_callback_name"},
    "shared/postgres/connections.py": {psycopg.errors: "_WaitTimeout"},
    "shared/postgres/pool.py": {psycopg.errors: "_WaitTimeout"},
}
#: The libraries of these, and the parser of heads.
PINNED = ("httptools", "psycopg", "redis", "rq", "starlette", "uvicorn")
#: Public in spite of its underscore.
DOCUMENTED = {"_exit"}


@cache
def source_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text("utf-8"))


def product_files() -> Iterator[str]:
    for side in SIDES:
        yield from (str(path.relative_to(ROOT)) for path in sorted((ROOT / side).rglob("*.py")))


def names_in(tree: ast.AST) -> set[str]:
    """The names of all attributes, functions, class variables and keyword arguments."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@cache
def names_of(owner: Owner) -> set[str]:
    """The attributes of a module, or of a class and its instances."""
    if isinstance(owner, ModuleType):
        return set(vars(owner))
    found: set[str] = set()
    for cls in owner.__mro__[:-1]:
        found |= vars(cls).keys() | set_in(cls.__module__).get(cls.__qualname__.rpartition(".")[2], set())
    return found


@cache
def set_in(module: str) -> dict[str, set[str]]:
    """The attributes that the classes of a module set on themselves; none if it is not written in Python."""
    path = Path(getattr(sys.modules[module], "__file__", None) or "")
    if path.suffix != ".py":
        return {}
    found: dict[str, set[str]] = {}
    for definition in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(definition, ast.ClassDef):
            found.setdefault(definition.name, set()).update(
                node.attr
                for node in ast.walk(definition)
                if isinstance(node, ast.Attribute) and is_self(node.value) and isinstance(node.ctx, ast.Store)
            )
    return found


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def listed(file: str) -> set[str]:
    return {name for names in PRIVATE.get(file, {}).values() for name in names.split()}


@pytest.mark.parametrize("file", PRIVATE)
def test_the_private_names_that_a_file_uses_exist_and_are_listed(file: str) -> None:
    used = names_in(source_of(file))
    for owner, names in PRIVATE[file].items():
        shared = used & names_of(owner)
        found = {name for name in shared if is_private(name) or (owner in INTERNAL and not name.startswith("__"))}
        assert found == set(names.split()), f"{file}: {owner.__name__} changed, or other names of it are used"


def test_no_other_private_name_of_another_object_is_used() -> None:
    for file in product_files():
        attributes = [node for node in ast.walk(source_of(file)) if isinstance(node, ast.Attribute)]
        used = {node.attr for node in attributes if is_private(node.attr) and not is_self(node.value)}
        assert used - listed(file) == set(), f"{file}: name them in PRIVATE and pin the library"


def test_no_other_private_name_of_a_foreign_base_class_is_used() -> None:
    for file in product_files():
        for definition in source_of(file).body:
            if not isinstance(definition, ast.ClassDef):
                continue
            module = import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            bases = getattr(module, definition.name).__mro__[1:-1]
            foreign = [names_of(base) for base in bases if base.__module__.split(".")[0] not in SIDES]
            used = {name for name in names_in(definition) & set().union(*foreign) if is_private(name)}
            assert used - listed(file) == set(), f"{file}: name them in PRIVATE and pin the library"


@pytest.mark.parametrize("library", PINNED)
def test_a_library_with_private_parts_in_use_is_pinned_to_the_installed_minor_version(library: str) -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [pin] = [found for found in requirements if re.split(r"[^\w-]", found)[0] == library]
    major, minor, *_ = map(int, version(library).split("."))

    assert re.sub(r"^[^>]*", "", pin) == f">={major}.{minor},<{major}.{minor + 1}"


def test_each_library_with_private_parts_in_use_is_among_the_pinned() -> None:
    owners = {owner for uses in PRIVATE.values() for owner in uses}
    modules = {owner.__name__ if isinstance(owner, ModuleType) else owner.__module__ for owner in owners}

    assert {module.split(".")[0] for module in modules} <= set(PINNED)
