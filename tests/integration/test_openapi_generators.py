"""Generators of clients can use the OpenAPI document: their clients compile, parse every example, use the emulator.

The generators are pinned beside this file, in `generators/`, and installed into `.bench/` by the first run. A machine
that can't reach a package registry skips these tests; in CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.environments import NodeModules, VirtualEnvironment
from ingest_api.openapi.document import document
from tests.support.emulated import Emulated, emulating
from tests.support.installed import installed, run
from tests.support.processes import wait_until

GENERATORS = Path(__file__).parent / "generators"
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document()))


@pytest.fixture(scope="module")
def document_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_text(json.dumps(DOCUMENT))
    return file


def examples(content: dict[str, Any]) -> list[Any]:
    """Return the values of a media type's examples."""
    named = content.get("examples", {})
    return [
        (DOCUMENT["components"]["examples"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one)["value"]
        for one in named.values()
    ]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and Operation Object of everything in the document."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def cases() -> Iterator[dict[str, Any]]:
    """Yield each example of an answer, with an example of a body that it may follow."""
    for _, _, operation in operations():
        bodies = examples(operation.get("requestBody", {}).get("content", {}).get("application/json", {})) or [None]
        for status, response in operation["responses"].items():
            answers = examples(response.get("content", {}).get("application/json", {})) or [None]
            for index, answer in enumerate(answers):
                body = bodies[index % len(bodies)]
                named = {"tag": operation["tags"][0], "name": operation["operationId"], "status": int(status)}
                yield {**named, "body": body, "answer": answer}


def test_openapi_python_client_parses_every_example(document_file: Path, tmp_path: Path) -> None:
    generator = installed(VirtualEnvironment(GENERATORS / "openapi_python_client"))
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    every_case = list(cases())
    (tmp_path / "cases.json").write_text(json.dumps(every_case))

    printed = run(
        *(generator.python, "-m", "openapi_python_client", "generate", "--path", document_file, "--meta", "none"),
        *("--config", "config.yaml", "--output-path", tmp_path / "generated", "--fail-on-warning"),
        folder=tmp_path,
    )
    assert "warning" not in printed.lower()
    script = GENERATORS / "openapi_python_client" / "parse_examples.py"
    results = json.loads(
        run(generator.python, "-W", "error", script, tmp_path / "generated", "cases.json", folder=tmp_path)
    )

    for case, (class_name, parsed) in zip(every_case, results, strict=True):
        assert without_times(parsed) == without_times(case["answer"])
        assert (class_name == "Refusal") == ("error" in (case["answer"] or ()))
    with emulating(tmp_path) as service:
        words = (script.with_name("use_service.py"), tmp_path / "generated", service.url, service.first.credential)
        used(service, run(generator.python, "-W", "error", *words, folder=tmp_path))


def without_times(answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the answer without its times, which the client writes in another form; None if there is no body."""
    return answer and {name: None if name.endswith("At") else value for name, value in answer.items()}


def typescript() -> str:
    """Return a program that gives every example the type of its place in the document."""
    lines = ['import type { components, paths } from "./api.js";', "export default ["]
    for path, method, operation in operations():
        place = f'paths["{path}"]["{method}"]'
        described = [(f'NonNullable<{place}["requestBody"]>', operation.get("requestBody", {}))]
        described += [(f'{place}["responses"][{status}]', part) for status, part in operation["responses"].items()]
        for name, part in described:
            content = part.get("content", {}).get("application/json", {})
            type_ = f'{name}["content"]["application/json"]'
            lines += [f"  {json.dumps(example)} satisfies {type_}," for example in examples(content)]
    wrong_item = '  { name: "no id" } satisfies components["schemas"]["Item"],'
    wrong_code = '  "no such code" satisfies components["schemas"]["Code"],'
    expected = "  // @ts-expect-error"
    return "\n".join([*lines, expected, wrong_item, expected, wrong_code, "];", ""])


def test_types_of_openapi_typescript_fit_every_example(document_file: Path, tmp_path: Path) -> None:
    generator = installed(NodeModules(GENERATORS / "openapi_typescript"))
    packages = generator.folder / "node_modules"
    (generator.folder / "examples.ts").write_text(typescript())

    printed = run(
        *(generator.node, packages / "openapi-typescript" / "bin" / "cli.js", document_file, "--output", "api.d.ts"),
        folder=generator.folder,
    )
    assert "warning" not in printed.lower()
    run(generator.node, packages / "typescript" / "bin" / "tsc", "--project", ".", folder=generator.folder)
    with emulating(tmp_path) as service:
        words = ("use_service.ts", service.url, service.first.credential)
        used(service, run(generator.node, *words, folder=generator.folder))


def used(service: Emulated, printed: str) -> None:
    """Check what a generated client was answered, and what the service has."""
    answers = {name: (status, answer) for name, status, answer in map(json.loads, printed.splitlines())}
    expected = {"getRequestStatus": 200, "publishConfiguration": 200, "getConfiguration": 200}
    expected |= {"refused": 409, "unauthorized": 401}
    assert {name: status for name, (status, _) in answers.items()} == {
        name: expected.get(name, 202) for name in answers
    }
    assert len(answers) == 10
    assert answers["repeated"][1]["requestId"] == answers["ingestItems"][1]["requestId"]
    assert answers["getRequestStatus"][1]["state"] == "applied"
    assert answers["getConfiguration"][1]["configuration"] == '{"poll":60}'
    assert answers["refused"][1]["error"]["path"] == "$.items[0].id"
    wait_until("the retain is applied", lambda: [item["name"] for item in service.ask("GET", "/items")] == ["Ann"])
