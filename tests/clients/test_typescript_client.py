"""The TypeScript client: its own tests, and the types of its tests and examples. They run in Node."""

from __future__ import annotations

from pathlib import Path

from tests.support.installed import run, tsc, typescript_client


def test_the_tests_of_the_package_pass() -> None:
    package = typescript_client()
    tests = sorted(Path("tests", file.name) for file in (package.project / "tests").glob("*.test.ts"))

    printed = run(package.node, "--test", "--test-reporter=tap", *tests, folder=package.folder)

    assert "\n# fail 0\n" in printed
    assert "\n# skipped 0\n" in printed


def test_tests_and_examples_have_right_types() -> None:
    tsc(typescript_client(), "--noEmit")
