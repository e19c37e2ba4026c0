"""The page of the API for people, at `/` and `/docs`: the OpenAPI document as HTML.

The page has no script and asks no host for anything: its style sheet is part of it, and the headers forbid the rest.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext

Json = dict[str, Any]

_STYLE: Final = (resources.files(__package__) / "page.css").read_text("utf-8")
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: What a schema demands beside the type, and how the page says it.
_RULES: Final = {
    "format": "Format: {}.",
    "pattern": "Pattern: {}.",
    "default": "Default: {}.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "minLength": "At least {} characters.",
    "minItems": "At least {} elements.",
    "maxItems": "At most {} elements.",
    "maxProperties": "At most {} members.",
}


class Page:
    """Endpoint of the page."""

    def __init__(self, document: Json) -> None:
        self._body = page(document).encode()

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer one request."""
        context: RequestContext = scope["context"]
        await context.answer_text(self._body, "text/html; charset=utf-8", _HEADERS)


def page(document: Json) -> str:
    """Return the page of an OpenAPI document."""
    title = html.escape(document["info"]["title"])
    main = "".join(_sections(document))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{main}</body>\n</html>\n"
    )


def _sections(document: Json) -> Iterable[str]:
    info, components = document["info"], document["components"]
    yield f"<h1>{html.escape(info['title'])}</h1>\n<p><strong>{_text(info['summary'])}</strong></p>\n"
    yield f"<p>{_text(info['description'])}</p>\n"
    bases = " and ".join(f"<code>{server['url']}</code>" for server in document["servers"])
    machines = '<a href="openapi.json">openapi.json</a> tells machines the same'
    yield f"<p>Every route answers under {bases}; {machines}.</p>\n"
    for scheme in components["securitySchemes"].values():
        example = f"<code>Authorization: Bearer {html.escape(scheme['bearerFormat'])}</code>"
        yield f"<p>{example}: {_text(scheme['description'])}</p>\n"
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in document["tags"]:
        of_tag = [one for one in operations if tag["name"] in one[2]["tags"]]
        if of_tag:
            yield f'<h2 id="tag-{tag["name"]}">{tag["name"].capitalize()}</h2>\n<p>{_text(tag["description"])}</p>\n'
            yield _table(_contents_row(*one) for one in of_tag)
    yield from (_operation(*one, components) for one in operations)
    yield '<h2 id="errors">Error codes</h2>\n' + _errors(components)
    yield '<h2 id="schemas">Shapes</h2>\n'
    yield from (_schema(name, schema) for name, schema in components["schemas"].items() if name != "Code")


def _contents_row(method: str, path: str, operation: Json) -> list[str]:
    link = f'<a href="#{operation["operationId"]}">{method} {html.escape(path)}</a>'
    return [link, _text(operation["summary"])]


def _operation(method: str, path: str, operation: Json, components: Json) -> str:
    parts = [
        f'<h3 id="{operation["operationId"]}"><code>{method} {html.escape(path)}</code></h3>\n',
        f"<p><strong>{_text(operation['summary'])}.</strong> {_text(operation['description'])}",
        "</p>\n" if operation["security"] else " It asks for no credential.</p>\n",
        _table(_parameters(operation, components), "parameter", "in", "type", "meaning"),
        _content("Body", operation.get("requestBody", {}), components),
    ]
    parts += (_response(status, response, components) for status, response in operation["responses"].items())
    return "".join(parts)


def _parameters(operation: Json, components: Json) -> Iterable[list[str]]:
    for one in operation.get("parameters", ()):
        found = _resolved(one, components)
        schema = found["schema"]
        meaning = f"{_text(found['description'])} {_meaning(schema)}"
        yield [f"<code>{html.escape(found['name'])}</code>", found["in"], _type(schema), meaning]


def _response(status: str, response: Json, components: Json) -> str:
    codes = response.get("x-errors")
    if codes:
        links = ", ".join(f'<a href="#error-{code}"><code>{code}</code></a>' for code in codes)
        return f"<p><strong>{status}</strong> {links}</p>\n"
    return _content(status, response, components)


def _content(what: str, described: Json, components: Json) -> str:
    """Return a body: of a request, or of an answer that is no refusal."""
    if not described:
        return ""
    parts = [f"<p><strong>{what}</strong> {_text(described['description'])}"]
    for media_type, content in described.get("content", {}).items():
        parts.append(f" <code>{html.escape(media_type)}</code>: {_type(content['schema'])}.")
    parts.append("</p>\n")
    for content in described.get("content", {}).values():
        for example in content.get("examples", {}).values():
            text = json.dumps(_resolved(example, components)["value"], indent=2, ensure_ascii=False)
            parts.append(f"<details><summary>Example</summary><pre>{html.escape(text)}</pre></details>\n")
    return "".join(parts)


def _errors(components: Json) -> str:
    code = components["schemas"]["Code"]
    rows = (
        [
            f'<code id="error-{name}">{name}</code>',
            str(code["x-status"][name]),
            _text(meaning),
            "yes" if name in code["x-retry"] else "no",
        ]
        for name, meaning in zip(code["enum"], code["x-enum-descriptions"], strict=True)
    )
    return _table(rows, "code", "status", "meaning and remedy", "retry")


def _schema(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = (
        [
            f"<code>{html.escape(member)}</code>",
            _type(one) + (", required" if member in required else ""),
            _meaning(one),
        ]
        for member, one in schema.get("properties", {}).items()
    )
    return f'<h3 id="{name}">{name}</h3>\n<p>{_type(schema)}. {_meaning(schema)}</p>\n' + _table(
        rows, "member", "type", "meaning"
    )


def _type(schema: Json) -> str:
    """Return what values a schema allows, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{"errors" if name == "Code" else name}">{name}</a>'
    if "oneOf" in schema:
        return " or ".join(map(_type, schema["oneOf"]))
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return " or ".join(f"<code>{html.escape(json.dumps(value))}</code>" for value in values)
    kinds = schema.get("type", "any JSON")
    named = kinds if isinstance(kinds, str) else " or ".join(kinds)
    inner = schema.get("items") or schema.get("additionalProperties")
    return f"{named} of {_type(inner)}" if inner else named


def _meaning(schema: Json) -> str:
    """Return what a schema says and demands beside the type, of its elements too."""
    inner = schema.get("items") or schema.get("additionalProperties") or {}
    parts = [
        _text(schema.get("description", "")),
        *(
            text.format(f"<code>{html.escape(str(schema[rule]))}</code>")
            for rule, text in _RULES.items()
            if rule in schema
        ),
        f"Each: {_meaning(inner)}" if "description" in inner or "pattern" in inner else "",
    ]
    return " ".join(filter(None, parts))


def _table(rows: Iterable[list[str]], *titles: str) -> str:
    """Return a table of cells that are HTML; nothing if there are no rows."""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows]
    head = "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>\n" if titles else ""
    return f"<table>\n{head}{''.join(lines)}</table>\n" if lines else ""


def _text(written: str) -> str:
    """Return a text of the document: backticks mark code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(written, quote=False).strip())


def _resolved(node: Json, components: Json) -> Json:
    """Return the component that a reference names, or the node itself."""
    if "$ref" not in node:
        return node
    kind, name = node["$ref"].removeprefix("#/components/").split("/")
    found: Json = components[kind][name]
    return found
