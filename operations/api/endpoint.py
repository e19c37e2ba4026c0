"""Serve one operation: the token, the role, the input, then the function in a thread; any error becomes a refusal."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from operations.api.operation import Call, Input, Operation
from operations.api.refusals import TOO_LARGE, UNAUTHORIZED, Refusal, refusal_of
from operations.audit import Actor
from operations.documents import Document
from operations.engines import Engines
from operations.tokens import Token, check_token, is_token
from shared.limits import MB
from shared.request_id import unaccepted_request_id

#: Largest body: a configuration of 1 MB, escaped as a JSON string.
_MAX_BODY_BYTES: Final = 7 * MB
_ETAG: Final = re.compile(r'\s*(?:W/)?"(\d{1,18})"\s*', re.ASCII)


class Endpoint:
    """The endpoint of one operation."""

    def __init__(self, operation: Operation, engines: Engines) -> None:
        self._operation = operation
        self._engines = engines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._served(Request(scope, receive))
        except Exception as error:  # noqa: BLE001 - `refusal_of` logs what is not expected
            answer = refuse(refusal_of(error))
        await answer(scope, receive, send)

    async def _served(self, request: Request) -> Response:
        operation = self._operation
        token = await run_in_threadpool(self._token_of, request.headers.get("authorization", ""))
        if not token.role.may(operation.needed):
            raise Refusal(403, "forbidden", f"This needs the role {operation.needed}; the token has {token.role}.")
        values: dict[str, Any] = {
            name: _converted(request.path_params[name], kind) for name, kind in operation.parameters.items()
        }
        if operation.query is not None:
            values["query"] = _converted(dict(request.query_params), operation.query)
        if operation.body is not None:
            values["body"] = _decoded(await _read(request), operation.body)
        call = Call(self._engines, Actor("token", token.name), token.role, _expected(request))
        return _answer(operation.status, await run_in_threadpool(operation.function, call, **values))

    def _token_of(self, header: str) -> Token:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not is_token(text.strip()):
            raise UNAUTHORIZED
        with self._engines.database() as connection:
            token = check_token(connection, text.strip())
        if token is None:
            raise UNAUTHORIZED
        return token


def refuse(refusal: Refusal) -> Response:
    """Return the answer that tells a refusal."""
    request_id = unaccepted_request_id()
    error = {"code": refusal.code, "message": refusal.message}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(refusal.status, {})
    return _json(refusal.status, {"status": "error", "requestId": request_id, "error": error}, request_id, headers)


def _answer(status: int, document: Any) -> Response:
    version = getattr(document, "generation", getattr(document, "version", None))
    headers = {} if version is None else {"ETag": f'"{version}"'}
    return _json(status, document, unaccepted_request_id(), headers)


def _json(status: int, document: Any, request_id: str, headers: dict[str, str]) -> Response:
    own = {"X-Request-Id": request_id, "Cache-Control": "no-store", **headers}
    content = b"" if document is None else orjson.dumps(document, default=_members)
    return Response(content, status, own, media_type=None if document is None else "application/json")


def _members(document: Document) -> dict[str, Any]:
    """Return the members of a Struct, whose values may be text of Postgres that is JSON already."""
    values = (getattr(document, name) for name in document.__struct_fields__)
    return dict(zip(document.__struct_encode_fields__, values, strict=True))


def _converted(value: Any, kind: type) -> Any:
    return msgspec.convert(value, kind, strict=False)


def _decoded(body: bytes, kind: type[Input]) -> Input:
    try:
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError:
        raise Refusal(400, "invalid_request", "The body is not UTF-8.") from None


def _expected(request: Request) -> int | None:
    header = request.headers.get("if-match", "*")
    if header.strip() == "*":
        return None
    match = _ETAG.fullmatch(header)
    if match is None:
        raise Refusal(400, "invalid_request", "`If-Match` must be one ETag that this API gave.")
    return int(match[1])


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise TOO_LARGE
    return bytes(body)
