"""The OpenAPI document: valid, complete, and of one mind with what judges requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from ingest_api.app import create_app
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.openapi.endpoint import document
from ingest_api.openapi.operations import OPERATIONS
from ingest_api.request_status import LONGEST_WAIT_SECONDS
from ingest_api.validation.fast import validate_items, validate_log_entries, validate_webhook
from shared import limits
from shared.log_levels import STORED_LEVELS
from shared.process.settings import SecretUrl, Settings
from shared.request_id import unaccepted_request_id
from tests.bodies import ANYTHING, BATCHES, LOGS, damaged, records

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(OPERATIONS)))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def served(surfaces: set[str]) -> tuple[dict[str, Any], str]:
    """The document of an API process, and the id in the answer's header."""

    async def fetch() -> tuple[dict[str, Any], str]:
        settings = Settings(
            database_url=SecretUrl("postgresql:///nowhere"),
            redis_url=SecretUrl("unix:///nowhere"),
            surfaces=frozenset(surfaces),
        )
        transport = httpx.ASGITransport(app=create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            answer = await client.get("/datapool/openapi.json")
        assert answer.status_code == 200, answer.text
        return answer.json(), answer.headers["X-Request-Id"]

    return asyncio.run(fetch())


def operations(told: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method.upper()) for path, methods in told["paths"].items() for method in methods}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema that stands somewhere in the document."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every media type object: what is sent, and what comes back."""
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            described = [("body", operation.get("requestBody", {})), *operation["responses"].items()]
            for what, part in described:
                for content in part.get("content", {}).values():
                    yield f"{operation['operationId']} {what}", content


def test_it_passes_a_validator_of_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_of_the_app_is_in_it_and_every_operation_is_a_route() -> None:
    # A route without a description would have stopped `create_app`.
    told, request_id = served({"data", "management"})

    assert operations(told) == set(OPERATIONS)
    assert told == {**DOCUMENT, "x-request-id": request_id}


def test_it_tells_only_of_the_surfaces_that_are_served() -> None:
    data, management = (operations(served({surface})[0]) for surface in ("data", "management"))

    health = {("/healthz", "GET"), ("/readyz", "GET"), ("/metrics", "GET"), ("/openapi.json", "GET")}
    assert data & management == health
    assert data | management == set(OPERATIONS)
    assert management - health == {("/api/connector/config", "GET"), ("/api/connector/config", "PUT")}


def test_every_code_is_answered_somewhere_with_its_status() -> None:
    found = {
        (code, int(status))
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        for code in codes_of(answer)
    }

    assert found == {(code.text, code.value.status) for code in ErrorCode}


def codes_of(answer: dict[str, Any]) -> list[str]:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return [
        code
        for one in schema.get("oneOf", [schema])
        if one.get("$ref") == "#/components/schemas/Refusal"
        for code in one["properties"]["error"]["properties"]["code"]["enum"]
    ]


@pytest.mark.parametrize(("what", "content"), list(contents()))
def test_examples_are_what_their_schema_says(what: str, content: dict[str, Any]) -> None:
    check = validator(content["schema"])
    examples = content.get("examples", {})
    for example in examples.values():
        name = example.get("$ref", "").rpartition("/")[2]
        check.validate((DOCUMENT["components"]["examples"][name] if name else example)["value"])

    assert examples or "Refusal" not in json.dumps(content), what


def test_examples_of_bodies_are_taken() -> None:
    taken = {
        name: [example["value"] for example in content["examples"].values()]
        for name, content in contents()
        if name.endswith(" body")
    }

    assert validate_items(json.dumps(taken["ingestItems body"][0]).encode()) == 1
    assert validate_log_entries(json.dumps(taken["ingestLog body"][0]).encode()) == 1
    validate_webhook(json.dumps(taken["ingestWebhook body"][0]).encode(), "id")


def test_limits_are_those_that_are_judged() -> None:
    item, entry = SCHEMAS["Item"]["properties"], SCHEMAS["Entry"]["properties"]
    webhook = SCHEMAS["WebhookItem"]
    wait = next(one for one in parameters("/api/requests/{requestId}", "get") if one["name"] == "wait")["schema"]

    assert (item["id"]["minLength"], item["id"]["x-max-bytes"]) == (1, limits.MAX_ID_BYTES)
    assert item["name"]["x-max-bytes"] == limits.MAX_NAME_BYTES
    assert item["fields"]["maxProperties"] == webhook["maxProperties"] == limits.MAX_FIELDS
    assert item["tags"]["maxProperties"] == limits.MAX_TAGS
    assert item["fields"]["x-max-bytes"] == webhook["x-max-bytes"] == limits.MAX_ITEM_BYTES
    for primitives in (item["fields"], item["tags"], entry["context"], webhook):
        assert primitives["propertyNames"]["x-max-bytes"] == limits.MAX_KEY_BYTES
        assert primitives["additionalProperties"]["x-max-bytes"] == limits.MAX_VALUE_BYTES
    for primitives in (item["fields"], item["tags"], entry["context"]):
        assert primitives["additionalProperties"]["x-max-digits"] == limits.MAX_NUMBER_DIGITS
    assert entry["message"]["x-max-bytes"] == limits.MAX_VALUE_BYTES
    assert SCHEMAS["AnyValue"]["x-max-nesting"] == limits.MAX_NESTING
    published = SCHEMAS["PublishedConfiguration"]["properties"]["configuration"]
    assert published["x-max-bytes"] == limits.MAX_CONFIGURATION_BYTES
    assert wait["maximum"] == LONGEST_WAIT_SECONDS


def parameters(path: str, method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DOCUMENT["paths"][path][method]["parameters"]
    return found


def test_levels_are_those_that_are_known_in_any_case() -> None:
    check = validator(SCHEMAS["Entry"]["properties"]["level"])

    assert all(check.is_valid(spelled) for level in STORED_LEVELS for spelled in (level, level.upper(), level.title()))
    assert not any(check.is_valid(level) for level in ("", "notice", "infos", "xinfo"))


def test_ids_of_requests_have_the_form_that_it_tells() -> None:
    assert validator(SCHEMAS["Refusal"]["properties"]["requestId"]).is_valid(unaccepted_request_id())


def is_taken(judge: Callable[[bytes], object], body: bytes) -> bool:
    try:
        judge(body)
    except ApiError:
        return False
    return True


WEBHOOKS = records({"id": ANYTHING}, {"name": ANYTHING, "a": ANYTHING})


@given(damaged(BATCHES), damaged(LOGS), damaged(WEBHOOKS))
def test_whatever_is_taken_is_allowed_by_its_schema(items: bytes, log: bytes, webhook: bytes) -> None:
    # The other direction is tried by schemathesis, which makes bodies of the document.
    if is_taken(validate_items, items):
        validator(SCHEMAS["ItemBatch"]).validate(json.loads(items))
    if is_taken(validate_log_entries, log):
        validator(SCHEMAS["EntryBatch"]).validate(json.loads(log))
    if is_taken(lambda body: validate_webhook(body, "id"), webhook):
        validator(SCHEMAS["WebhookItem"]).validate(json.loads(webhook))
