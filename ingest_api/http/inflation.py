"""Inflate gzip bodies within the body limit. Pure."""

from __future__ import annotations

import zlib
from typing import Final

from ingest_api.errors import ApiError, ErrorCode
from shared.limits import MAX_BODY_BYTES

#: zlib's code for gzip with the largest window.
_GZIP_WBITS: Final = 31
_INFLATE_OUTPUT_BYTES: Final = 1_048_576
_INFLATE_INPUT_BYTES: Final = 16_384
_MAX_GZIP_MEMBERS: Final = 10_000
#: Maximum decompressed size in bytes of a body that is inflated on the event loop: 30 KB may inflate to 30 MB.
_INFLATE_AT_ONCE_BYTES: Final = 65_536


def inflate_small(data: bytes | bytearray) -> bytes | None:
    """Decompress a gzip body of one member that stays small; None leaves any other to `inflate`."""
    member = zlib.decompressobj(_GZIP_WBITS)
    try:
        output = member.decompress(data, _INFLATE_AT_ONCE_BYTES)
    except zlib.error:
        return None
    return output if member.eof and not member.unused_data else None


def inflate(data: bytes) -> bytes:
    """Decompress gzip data of one or more members. Raises ApiError once the output is over the body limit."""
    output = _InflatedBody()
    member, members = zlib.decompressobj(_GZIP_WBITS), 1
    try:
        # Small pieces: zlib copies all data that follows a member, and there may be thousands of members.
        for start in range(0, len(data), _INFLATE_INPUT_BYTES):
            rest = data[start : start + _INFLATE_INPUT_BYTES]
            while rest:
                if member.eof:
                    rest = rest.lstrip(b"\0")  # padding, which gzip ignores too
                    if not rest:
                        break
                    member, members = zlib.decompressobj(_GZIP_WBITS), members + 1
                    if members > _MAX_GZIP_MEMBERS:
                        raise ApiError(
                            ErrorCode.INVALID_COMPRESSION,
                            "The gzip data has too many members; compress the body as one.",
                        )
                output.add(member.decompress(rest, _INFLATE_OUTPUT_BYTES))
                rest = member.unused_data if member.eof else member.unconsumed_tail
        while not member.eof and (piece := member.decompress(b"", _INFLATE_OUTPUT_BYTES)):
            output.add(piece)
    except zlib.error:
        raise ApiError(ErrorCode.INVALID_COMPRESSION) from None
    if not member.eof:
        raise ApiError(
            ErrorCode.INVALID_COMPRESSION,
            "The gzip data is cut off or followed by other bytes; send all of it and nothing else.",
        )
    return b"".join(output.pieces)


class _InflatedBody:
    """The decompressed pieces so far, within the limit."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Append a piece. Raises ApiError(body_too_large)."""
        self.pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise body_too_large(self._size)


def body_too_large(observed: int) -> ApiError:
    """Return the error for a body of so many bytes."""
    return ApiError(
        ErrorCode.BODY_TOO_LARGE,
        f"The body is over {MAX_BODY_BYTES} bytes; split the batch into several requests.",
        limit=MAX_BODY_BYTES,
        observed=observed,
    )
