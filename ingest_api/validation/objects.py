"""Exact validation of bodies that are one object of any members: heartbeats, webhooks, configurations."""

from __future__ import annotations

from typing import Final

import msgspec

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.exact import (
    ROOT,
    check_count,
    check_member_name,
    check_size,
    check_total,
    check_value_size,
    expect,
    with_article,
)
from ingest_api.validation.json_source import LONGEST_ESCAPE, NESTED, Source
from ingest_api.validation.json_text import child_path, cut, decoded
from shared import json_pointer
from shared.kinds.items import ID, NAME
from shared.kinds.shapes import OneItem
from shared.limits import MAX_CONFIGURATION_BYTES

_WHITE_SPACE: Final = b" \t\r\n"
#: A configuration of nothing but escapes, and what stands around it.
_LONGEST_CONFIGURATION_BODY: Final = MAX_CONFIGURATION_BYTES * LONGEST_ESCAPE + 1024


def check_heartbeat(body: bytes) -> None:
    """Check the body of a heartbeat: nothing, or any object. Raises ApiError."""
    if body.strip(_WHITE_SPACE) not in (b"", b"{}"):
        source = Source.parse(body)
        expect(source, ROOT, "object")
        source.check_everything(ROOT)


def check_webhook(body: bytes, item: OneItem, id_field: str) -> int:
    """Check the body of a webhook: one item, of which every member is a field. Raises ApiError."""
    first, *steps = _names(id_field)
    source = Source.parse(body)
    expect(source, ROOT, "object")
    total, has_id, around = 0, False, slice(0, 0)
    for walked, name in enumerate(source.members(ROOT)):
        check_count(walked, ROOT, item.fields)
        path = child_path(ROOT, name)
        check_member_name(name, path)
        if name == first:
            has_id = True
            if not steps:
                _check_id(source, path)
        if name == "name" and source.kind == "string":
            check_size(source.string_size(path), path, NAME)
        size = _size(source, path)
        check_value_size(size, path)
        total += size
        if name == first:
            around = slice(source.start, source.end)
    check_total(total, ROOT, item.fields)
    if not has_id:
        raise _no_id(id_field, child_path(ROOT, first))
    if steps:
        _check_nested_id(body[around], id_field, first, steps)
    return 1


def _names(id_field: str) -> list[str]:
    try:
        return json_pointer.parse(id_field)
    except ValueError as error:
        raise ApiError(ErrorCode.INVALID_PARAMETER, f"`idField` {error}.", path="idField") from None


def _check_nested_id(text: bytes, id_field: str, first: str, steps: list[str]) -> None:
    """Check what a pointer finds in a member that is within its limits, and so short enough for several parses."""
    path, found = child_path(ROOT, first), msgspec.Raw(text)
    first_byte = text[:1]
    for name in steps:
        is_index = first_byte == b"[" and name.isascii() and name.isdecimal()
        path = f"{path}[{name}]" if is_index else child_path(path, name)
        try:
            found = json_pointer.step(found, name)
        except KeyError:
            raise _no_id(id_field, path) from None
        first_byte = bytes(memoryview(found)[:1])
    _check_id(Source(bytes(found)), path)


def _no_id(id_field: str, path: str) -> ApiError:
    sentence = f"The body has no member `{cut(id_field)}` to take the item's id from; add it or name another."
    return ApiError(ErrorCode.MISSING_PROPERTY, sentence, path=path)


def _check_id(source: Source, path: str) -> None:
    if source.kind not in NESTED and source.kind != "null":
        check_size(source.primitive_size(path), path, ID)
        return
    if source.kind in NESTED:
        source.refuse_deep_nesting(path)
    sentence = f"The item's id must be a string, number or boolean, not {with_article(source.kind)}."
    raise ApiError(ErrorCode.INVALID_ID, sentence, path=path)


def _size(source: Source, path: str) -> int:
    """Return the size of a webhook's member: of a nested one, its source text, since that is what is kept."""
    if source.kind not in NESTED:
        return source.primitive_size(path)
    source.skip(path)
    return source.end - source.start


def read_configuration(body: bytes) -> str:
    """Return the configuration, which is JSON text itself, that a body holds. Raises ApiError."""
    if len(body) > _LONGEST_CONFIGURATION_BODY:
        sentence = f"`configuration` may have {MAX_CONFIGURATION_BYTES:,} bytes; this whole body has {len(body):,}."
        raise _invalid(sentence, None, len(body))
    source = Source.parse(body)
    expect(source, ROOT, "object")
    found: str | None = None
    for name in source.members(ROOT):
        path = child_path(ROOT, name)
        if name != "configuration":
            sentence = f"`{cut(name)}` is not a property of this body; remove it or rename it to one of the documented."
            raise ApiError(ErrorCode.UNKNOWN_PROPERTY, sentence, path=path)
        found = _configuration(source, path)
    if found is None:
        sentence = "`configuration` is required in this body; add it."
        raise ApiError(ErrorCode.MISSING_PROPERTY, sentence, path=child_path(ROOT, "configuration"))
    return found


def _configuration(source: Source, path: str) -> str:
    expect(source, path, "string")
    size = source.string_size(path)
    if size > MAX_CONFIGURATION_BYTES:
        sentence = f"`configuration` may have {MAX_CONFIGURATION_BYTES:,} bytes; this one has {size:,}: shorten it."
        raise _invalid(sentence, path, size)
    text = decoded(source.text)
    if not _is_json_object(text.encode()):
        raise _invalid("`configuration` must be a string that holds a JSON object.", path)
    return text


def _invalid(sentence: str, path: str | None, size: int | None = None) -> ApiError:
    limit = None if size is None else MAX_CONFIGURATION_BYTES
    return ApiError(ErrorCode.INVALID_CONFIGURATION, sentence, path=path, limit=limit, observed=size)


def _is_json_object(text: bytes) -> bool:
    try:
        source = Source.parse(text)
        source.check_everything(ROOT)
    except ApiError:
        return False
    return source.kind == "object"
