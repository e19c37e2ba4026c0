"""Call every operation of a generated client with the document's examples: `parse_examples.py CLIENT CASES`.

CLIENT is the generated package. CASES is a JSON file with one object for each answer: the operation's tag and name, the
example of its body if it has one, and the status and body of the answer. Prints one JSON array: for each case, the
class of what the client parsed, and that as JSON again.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import httpx

#: Values of the parameters in paths.
PATH = {"stream": "agents", "request_id": "req_a1b2c3d4e5f6g7", "hook_id": f"hk_{'0' * 32}"}


def parsed(package: str, case: dict[str, Any]) -> tuple[str, Any]:
    """Return the class of the client's result and its JSON."""
    operation = import_module(f"{package}.api.{case['tag']}.{snake(case['name'])}")
    call = operation.sync_detailed
    transport = httpx.MockTransport(lambda request: answer(request, case))
    client = import_module(f"{package}.client").AuthenticatedClient(
        base_url="http://api", token="t", raise_on_unexpected_status=True, httpx_args={"transport": transport}
    )
    arguments = {name: PATH[name] for name in signature(call).parameters if name in PATH}
    if case["body"] is not None:
        arguments["body"] = body_class(call).from_dict(case["body"])
    found = call(client=client, **arguments).parsed
    return type(found).__name__, found.to_dict() if found is not None else None


def answer(request: httpx.Request, case: dict[str, Any]) -> httpx.Response:
    """Check what the client sends, and answer with the example."""
    if case["body"] is not None:
        # The client writes UTC as an offset.
        assert json.loads(request.content.replace(b"+00:00", b"Z")) == case["body"], request.content
    return httpx.Response(case["status"], json=case["answer"])


def body_class(call: Any) -> Any:
    """Return the generated class of an operation's body, which may be optional."""
    annotation = signature(call, eval_str=True).parameters["body"].annotation
    return next(one for one in [*get_args(annotation), annotation] if hasattr(one, "from_dict"))


def snake(name: str) -> str:
    """Return the name that the generator gives to an operation's module."""
    return re.sub(r"([A-Z])", lambda letter: f"_{letter[1].lower()}", name)


if __name__ == "__main__":
    client, cases = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    sys.path.insert(0, str(client.parent))
    sys.stdout.write(json.dumps([parsed(client.name, case) for case in cases]))
