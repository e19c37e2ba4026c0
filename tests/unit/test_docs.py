"""The pages say what the code says: tables, links, paths and commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from ingest_api.errors import ErrorCode
from ingest_api.health import unusable
from ingest_api.openapi.document import document
from ingest_api.readiness import unwritable
from operations.cli.app import app
from shared import limits
from shared.hooks.schemes import SCHEMES
from shared.kinds import KINDS
from shared.kinds.shapes import Elements, Shape
from shared.process.settings import REGISTER

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("emulator", "ingest_api", "workers", "operations", "shared")
PLACES = ("*.md", "docs/**/*.md", "tests/*.md", "benchmarks/*.md", "clients/**/*.md")
PAGES = sorted(page for pattern in PLACES for page in ROOT.glob(pattern))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    text = (ROOT / page).read_text("utf-8")
    section = re.split(rf"^#+ {heading}$", text, flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in table[0].splitlines()[2:]]


def test_the_codes_are_those_of_the_register() -> None:
    expected = [
        [
            f"`{code.text}`",
            str(code.value.status),
            code.value.meaning,
            "yes" if code.value.retry else "no",
            code.value.advice,
        ]
        for code in ErrorCode
    ]

    assert rows("docs/api.md", "Codes") == expected


def test_the_routes_are_those_of_the_openapi_document() -> None:
    described = {f"`{method.upper()} {path}`" for path, methods in document()["paths"].items() for method in methods}

    assert {route for route, *_ in rows("docs/api.md", "Routes")} == described


def test_the_settings_are_those_of_the_register() -> None:
    assert rows("docs/settings.md", "Settings") == [
        [f"`{name}`", f"`{default}`" if default else "", doc] for name, default, doc in REGISTER
    ]


def test_the_limits_are_those_that_requests_are_checked_against() -> None:
    def megabytes(size: int) -> str:
        return f"{size / limits.MB:g} MB"

    assert [most for _, most in rows("docs/api.md", "Limits")] == [
        megabytes(limits.MAX_BODY_BYTES),
        str(limits.MAX_FIELDS),
        str(limits.MAX_TAGS),
        str(limits.MAX_CONTEXT_MEMBERS),
        megabytes(limits.MAX_VALUE_BYTES),
        megabytes(limits.MAX_ITEM_BYTES),
        f"{limits.MAX_ID_BYTES} bytes",
        f"{limits.MAX_NAME_BYTES:,} bytes",
        f"{limits.MAX_KEY_BYTES} bytes",
        f"{limits.MAX_STREAM_CHARACTERS} characters",
        megabytes(limits.MAX_CONFIGURATION_BYTES),
        f"{limits.MAX_NUMBER_DIGITS:,}",
        str(limits.MAX_NESTING),
        f"{limits.DEFAULT_RATE:g}",
        str(limits.DEFAULT_BURST),
    ]


def properties(shape: Shape, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each property as the pages name it, and whether it is required."""
    for name, one in shape.properties.items():
        yield f"`{prefix}{name}`", one.required
        if isinstance(one, Elements) and isinstance(one.shape, Shape):
            yield from properties(one.shape, f"{name}[].")


@pytest.mark.parametrize(("heading", "kind"), [("Items", "items"), ("Retain", "retain"), ("Log entries", "log")])
def test_the_properties_are_those_of_the_kinds(heading: str, kind: str) -> None:
    body = KINDS[kind].body
    assert isinstance(body, Shape)

    assert [(name, meaning.startswith("Required")) for name, _, meaning in rows("docs/api.md", heading)] == list(
        properties(body)
    )


def test_the_schemes_of_signatures_are_those_that_are_declared() -> None:
    told = [
        (name.strip("`"), signature.strip("`").partition(":")[0].lower(), delivery.strip("`").partition("`")[0].lower())
        for name, signature, _, delivery in rows("docs/api.md", "Signed webhooks")
    ]

    assert told == [
        (name, scheme.header.decode(), scheme.id_header.decode() or scheme.id_member)
        for name, scheme in SCHEMES.items()
    ]


def commands(group: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a typer group with the first sentence of its help."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            first_paragraph = re.sub(r"\s+", " ", (command.help or "").partition("\n\n")[0])
            yield f"`{name} {word}`", first_paragraph.partition(". ")[0].rstrip(".") + "."


@cache
def all_commands() -> list[tuple[str, str]]:
    return list(commands(typer.main.get_command(app), "ingestctl"))


def test_the_commands_are_those_of_ingestctl() -> None:
    assert [tuple(row) for row in rows("docs/operations.md", "Commands")] == all_commands()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_an_example_of_ingestctl_names_a_command(page: Path) -> None:
    known = {name.strip("`") for name, _ in all_commands()}
    groups = {name.rsplit(" ", 1)[0] for name in known}
    examples = re.findall(r"ingestctl(?: [a-z]+){1,2}", page.read_text("utf-8"))

    assert [
        example for example in examples if example not in known | groups and " ".join(example.split()[:2]) not in known
    ] == []


def calls(paths: Iterable[Path]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each call in some sources, as its function is written there, with its constant arguments."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                constants = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                yield ast.unparse(node.func), constants


def test_the_metrics_are_those_that_are_served() -> None:
    assert metric_rows("API") == served_metrics("ingest_api/metrics.py")
    assert metric_rows("Canary") == served_metrics("operations/canary.py")
    assert {**metric_rows("Workers"), **metric_rows("Sweeper")} == served_metrics(
        "workers/metrics.py", "workers/engine_metrics.py"
    )


def served_metrics(*sources: str) -> dict[str, tuple[str, str]]:
    types = {"Counter": "counter", "CounterMetricFamily": "counter", "Histogram": "histogram"}
    return {
        f"`{arguments[0]}{'_total' if called.startswith('Counter') else ''}`": (
            types.get(called, "gauge"),
            arguments[1],
        )
        for called, arguments in calls(ROOT / source for source in sources)
        if arguments and str(arguments[0]).startswith("ingest_")
    }


def metric_rows(heading: str) -> dict[str, tuple[str, str]]:
    return {name: (kind, meaning) for name, kind, meaning in rows("docs/metrics.md", heading)}


def test_the_conditions_are_those_that_health_answers_name() -> None:
    named = {condition for _, condition, _ in rows("docs/operations.md", "Health")}
    told = {"event_loop_turns", "postgres_writable", *unwritable(""), *unusable("")}

    assert named == {f"`{condition}`" for condition in told}


def test_every_log_event_is_explained() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    logged = {
        arguments[0]
        for called, arguments in calls(sources)
        if re.fullmatch(r"log(\.\w+|_often)|say", called) and arguments
    }
    explained = {event.strip("`") for event, *_ in rows("docs/troubleshooting.md", "Log events")}
    text = "".join(path.read_text("utf-8") for path in sources)

    assert logged - explained == set()
    assert {event for event in explained if f'"{event}"' not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^ {4}.*$|`[^`]*`", "", page.read_text("utf-8"), flags=re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]

    assert [link for link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:ingest_api|workers|operations|shared|tests|benchmarks|docs)/[\w./-]*)`", page.read_text("utf-8")
    )

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_submission_is_explained_in_four_files_and_five_hundred_lines() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    introduction = page.partition("## ")[0]
    named = re.findall(r"`([\w/]+\.py)`", introduction)
    lines = page.count("\n") + sum((ROOT / path).read_text("utf-8").count("\n") for path in named)

    assert len(named) == 3
    assert lines < 500
