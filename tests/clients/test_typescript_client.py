"""The TypeScript client: its own tests in Node, its types, and its tarball in a folder that has nothing else."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from inspire_ingest.command import main
from inspire_ingest.command.rules import RULES

from clients.build import tarball
from tests.clients.service import Service
from tests.support.emulated import emulating
from tests.support.installed import run, typescript_client
from tests.support.processes import ROOT


def test_the_tests_of_the_package_pass() -> None:
    package = typescript_client()
    tests = sorted(Path("tests", file.name) for file in (package.project / "tests").glob("*.test.ts"))

    printed = run(package.node, "--test", "--test-reporter=tap", *tests, folder=package.folder)

    assert "\n# fail 0\n" in printed
    assert "\n# skipped 0\n" in printed


def test_tests_and_examples_have_right_types() -> None:
    package = typescript_client()

    run(package.node, "node_modules/typescript/bin/tsc", "--noEmit", folder=package.folder)


def test_the_example_keeps_every_rule_of_connectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = typescript_client()
    with emulating(tmp_path) as started:
        told = json.dumps({"url": started.url, "credential": started.first.credential})
        start = f"sh -c {shlex.quote(f'echo {shlex.quote(told)}')}"
        example = str(package.folder / "examples" / "conform.ts")
        code = main(["conform", "--json", "--patience", "8", "--emulator", start, "--", package.node, example])

    judged = json.loads(capsys.readouterr().out)["rules"]
    assert [rule for rule in judged if not rule["passed"]] == []
    assert (code, len(judged)) == (0, len(RULES))


def test_the_tarball_installs_alone_and_runs_the_first_ten_lines(service: Service, tmp_path: Path) -> None:
    package = typescript_client()
    built = tarball(tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run(*(package.npm() or ()), "install", "--offline", "--no-audit", "--no-fund", built, folder=tmp_path)
    for page, name in ((package.project / "README.md", "first.ts"), (ROOT / "docs" / "connectors.md", "first.js")):
        code = re.search(rf"```{name[-2:]}\n(import .*?)```", page.read_text(), re.DOTALL)
        assert code
        (tmp_path / name).write_text(code[1])
    environment = {"INSPIRE_BASE_URL": service.url, "INSPIRE_INGEST_KEY": "ik_test"}

    printed = [run(package.node, name, folder=tmp_path, environment=environment) for name in ("first.ts", "first.js")]

    assert "2 items accepted" in printed[0]
    assert printed[1].startswith("accepted: req_")
    assert [row["name"] for row in service.rows] == ["Alice Smith", "Bob Jones", "Alice Smith"]
    inside = tmp_path / "node_modules" / "inspire-ingest"
    assert {path.name for path in inside.iterdir()} == {"dist", "package.json", "README.md", "CHANGELOG.md", "LICENSE"}
    version = json.loads((inside / "package.json").read_text())["version"]
    assert f'VERSION = "{version}"' in (inside / "dist" / "http.js").read_text()
    # Browsers have no types of Node: those of the package are complete without them.
    compiler = package.folder / "node_modules" / "typescript" / "bin" / "tsc"
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib"]
    run(package.node, compiler, *options, "es2022,dom,esnext.disposable", "first.ts", folder=tmp_path)
