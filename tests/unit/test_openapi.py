"""The OpenAPI document is valid, describes every route and agrees with the code that validates requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from ingest_api import idempotency
from ingest_api.app import create_app
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.openapi.document import document
from ingest_api.request_status import LONGEST_WAIT_SECONDS
from shared import limits
from shared.credentials import credential
from shared.kinds import COUNTED, KINDS
from shared.log_levels import STORED_LEVELS
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings
from shared.request_id import unaccepted_request_id
from tests.bodies import ANYTHING, BATCHES, LOGS, RETAINS, damaged, records
from tests.validators import validate_items, validate_log_entries, validate_retain, validate_webhook

#: Everything that is described, as a client receives it.
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document()))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def served(surfaces: set[str]) -> tuple[dict[str, Any], str]:
    """Return the document of an API process, and the id in the answer's header."""

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


def operations(described: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node that a reference leads to, or the node itself."""
    if "$ref" not in node:
        return node
    found: dict[str, Any] = DOCUMENT
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator of a schema that stands somewhere in the document."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def described_operations() -> Iterator[dict[str, Any]]:
    for methods in DOCUMENT["paths"].values():
        yield from methods.values()


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every media type of requests and answers, with a name for it."""
    for operation in described_operations():
        described = [("body", operation.get("requestBody", {})), *operation["responses"].items()]
        for what, part in described:
            for media_type, content in part.get("content", {}).items():
                yield f"{operation['operationId']} {what} {media_type}", content


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document, itself included."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(part)


def test_document_passes_a_validator_of_openapi_3_1() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415 - 0.7 s, in each process of tests

    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_described_and_every_described_operation_is_a_route() -> None:
    # A route without a description would have stopped `create_app`.
    told, request_id = served({"data", "management"})

    assert operations(told) == operations(DOCUMENT)
    assert {**told, "paths": {}} == {**DOCUMENT, "paths": {}, "x-request-id": request_id}
    assert told["paths"] == DOCUMENT["paths"]


def test_a_process_describes_only_the_surfaces_that_it_serves() -> None:
    data, management = (operations(served({surface})[0]) for surface in ("data", "management"))

    paths = ("/healthz", "/healthz/pipeline", "/readyz", "/metrics", "/openapi.json")
    health = {(path, "GET") for path in paths}
    assert data & management == health
    assert data | management == operations(DOCUMENT)
    assert management - health == {("/api/connector/config", "GET"), ("/api/connector/config", "PUT")}


def test_a_route_that_is_not_described_keeps_the_process_from_starting() -> None:
    with pytest.raises(LookupError, match=r"^POST /api/ingest/nothing is not described; add it to "):
        document([("/api/ingest", "POST"), ("/api/ingest/nothing", "POST")])


def test_every_code_is_answered_somewhere_with_its_status() -> None:
    found = {
        (code, int(status))
        for operation in described_operations()
        for status, answer in operation["responses"].items()
        for code in answer.get("x-errors", [])
    }

    assert found == {(code.text, code.value.status) for code in ErrorCode}
    assert SCHEMAS["Code"]["enum"] == [code.text for code in ErrorCode]


def test_nothing_stands_beside_a_reference() -> None:
    # Generators drop what stands there, or drop the operation.
    assert [node for node in nodes(DOCUMENT) if "$ref" in node and len(node) > 1] == []


def test_references_name_components_and_not_parts_of_them() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}

    assert {reference for reference in references if reference.count("/") != 3} == set()


@pytest.mark.parametrize(("what", "content"), list(contents()))
def test_examples_are_valid(what: str, content: dict[str, Any]) -> None:
    check = validator(content["schema"])
    for example in content.get("examples", {}).values():
        check.validate(resolved(example)["value"])

    assert "examples" in content or not what.endswith("json"), what


def test_examples_of_bodies_are_accepted() -> None:
    taken = {
        name.split()[0]: [json.dumps(example["value"]).encode() for example in content["examples"].values()]
        for name, content in contents()
        if " body " in name
    }

    assert [validate_items(body) for body in taken["ingestItems"]] == [1, 1, 1]
    assert [validate_log_entries(body) for body in taken["ingestLog"]] == [1]
    for body in taken["ingestWebhook"]:
        validate_webhook(body, "id")


def test_limits_of_bodies_are_those_of_validation() -> None:
    item, entry = SCHEMAS["Item"]["properties"], SCHEMAS["Entry"]["properties"]
    webhook = SCHEMAS["WebhookItem"]

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


def test_limits_that_are_written_in_the_document_are_those_of_the_code() -> None:
    webhook, status = parameters("/api/webhook/{stream}", "post"), parameters("/api/requests/{requestId}", "get")
    scheme = DOCUMENT["components"]["securitySchemes"]["ingestCredential"]

    assert webhook["stream"]["pattern"] == SCHEMAS["ItemBatch"]["properties"]["stream"]["pattern"]
    assert webhook["idField"]["maxLength"] == webhook["idField"]["x-max-bytes"] == limits.MAX_KEY_BYTES
    assert webhook["idField"]["description"] == f"Up to {limits.MAX_KEY_BYTES} bytes of UTF-8."
    assert webhook["Idempotency-Key"]["pattern"] == f"^{idempotency.FORM.pattern.decode()}$"
    assert status["wait"]["maximum"] == LONGEST_WAIT_SECONDS
    assert f"`{credential.FORM.pattern}`" in scheme["description"]
    for operation in described_operations():
        if "requestBody" in operation:
            assert f"Up to {limits.MAX_BODY_BYTES:,} bytes" in operation["requestBody"]["description"]


def parameters(path: str, method: str) -> dict[str, dict[str, Any]]:
    """Return the schemas of an operation's parameters, by name."""
    found = map(resolved, DOCUMENT["paths"][path][method]["parameters"])
    return {parameter["name"]: parameter["schema"] for parameter in found}


def test_every_kind_of_submission_has_its_answer_and_its_counter() -> None:
    status = SCHEMAS["RequestStatus"]["properties"]

    assert status["kind"]["enum"] == list(KINDS)
    assert set(COUNTED.values()) <= set(status)
    for kind in KINDS:
        counted = {COUNTED[kind]} if kind in COUNTED else set()
        assert set(SCHEMAS[f"{kind.capitalize()}Accepted"]["properties"]) == {"status", "requestId"} | counted


def test_levels_are_those_that_are_known_in_any_case() -> None:
    check = validator(SCHEMAS["Entry"]["properties"]["level"])

    assert all(check.is_valid(spelled) for level in STORED_LEVELS for spelled in (level, level.upper(), level.title()))
    assert not any(check.is_valid(level) for level in ("", "notice", "infos", "xinfo"))


def test_request_ids_have_the_described_form() -> None:
    assert validator(SCHEMAS["RequestId"]).is_valid(unaccepted_request_id())


def is_accepted(validate: Callable[[bytes], object], body: bytes) -> bool:
    try:
        validate(body)
    except ApiError:
        return False
    return True


WEBHOOKS = records({"id": ANYTHING}, {"name": ANYTHING, "a": ANYTHING})


@settings(max_examples=40)  # of each of four
@given(damaged(BATCHES), damaged(LOGS), damaged(WEBHOOKS), damaged(RETAINS))
def test_every_accepted_body_is_valid_by_its_schema(items: bytes, log: bytes, webhook: bytes, retain: bytes) -> None:
    # schemathesis tries the other direction: it makes bodies from the document.
    if is_accepted(validate_items, items):
        validator(SCHEMAS["ItemBatch"]).validate(json.loads(items))
    if is_accepted(validate_log_entries, log):
        validator(SCHEMAS["EntryBatch"]).validate(json.loads(log))
    if is_accepted(lambda body: validate_webhook(body, "id"), webhook):
        validator(SCHEMAS["WebhookItem"]).validate(json.loads(webhook))
    if is_accepted(validate_retain, retain):
        validator(SCHEMAS["Retained"]).validate(json.loads(retain))
