"""Cut the bytes of a connection into requests: where each head ends, and which bytes are a body.

Pure: no sockets, no clock. `RequestStream` owns the framing: a head is what comes before an empty line, and is checked
by the C parser (httptools); a body is exactly as long as its head says. Every decision depends on the bytes alone,
never on how they were cut into reads, so no byte of a body can become a request. `Upgrade` needs no care: the parser
sees heads only, and its wish to hand the connection over is ignored.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httptools

from ingest_api.errors import ApiError, ErrorCode

#: Maximum bytes of a head, from its first byte through its empty line; the limit passes.
MAX_HEAD_BYTES: Final = 65_536
#: Maximum number of chunks that are read at once, which takes some milliseconds.
_MAX_CHUNKS_AT_ONCE: Final = 2_000
#: Maximum bytes of a chunk's size line, without its line end.
_MAX_CHUNK_LINE_BYTES: Final = 1_024
_END_OF_HEAD: Final = b"\r\n\r\n"
_END_OF_LINE: Final = b"\r\n"
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)++")
_VERSIONS: Final = {b" HTTP/1.1": "1.1", b" HTTP/1.0": "1.0"}
#: Digits of the largest length that the parser counts; more can only be zeros in front.
_MAX_LENGTH_DIGITS: Final = 20
_CHUNK_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?")
#: A size line of which the end has not arrived yet.
_CHUNK_LINE_SO_FAR: Final = re.compile(rb"[0-9a-fA-F]{0,8}\r?|[0-9a-fA-F]{1,8};[\t\x20-\x7e\x80-\xff]*\r?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


def bad_request(detail: str) -> ApiError:
    """Return the error for a request that is not valid HTTP/1.1."""
    return ApiError(ErrorCode.BAD_REQUEST, f"The request is not valid HTTP/1.1: {detail}; use an HTTP client library.")


class RequestHead:
    """The head of a request. Header names are in lower case."""

    __slots__ = ("body_length", "expects_continue", "headers", "keep_alive", "method", "target", "version")

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = False
        self.expects_continue = False
        #: Bytes of the body; None if it comes in chunks.
        self.body_length: int | None = 0

    # httptools calls these while it reads the head.

    def on_url(self, url: bytes) -> None:
        """Add a part of the request's target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        self.headers.append((name.lower(), value))


class RequestStream:
    """The bytes of one connection that have been received and not yet been handed out."""

    def __init__(self) -> None:
        self._data = b""
        #: Where the bytes that were not handed out begin.
        self._start = 0
        self._head = RequestHead()
        self._parser: Any = None
        #: How far the parser has read; no head ends before.
        self._parsed = 0
        self._body: FixedBody | ChunkedBody | None = None
        #: Whether the body of the last head has not ended yet.
        self.in_body = False

    @property
    def pending_bytes(self) -> int:
        """Bytes that are held."""
        return len(self._data) - self._start

    @property
    def has_more(self) -> bool:
        """Whether more of the body had arrived than was taken: very many chunks."""
        return self._body is not None and self._body.has_more

    def in_head(self) -> bool:
        """Whether a head has begun and not ended; empty lines before it don't count."""
        return self._parser is not None

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self._parsed -= self._start
        self._data = self._data[self._start :] + data if self._start < len(self._data) else data
        self._start = 0

    def next_head(self) -> RequestHead | None:
        """Return the next head, or None until all of it has arrived. Raises ApiError for what is no HTTP/1.1."""
        if self._parser is None and not self._begin():
            return None
        data, start = self._data, self._start
        end = data.find(_END_OF_HEAD, max(self._parsed - len(_END_OF_HEAD) + 1, start))
        stop = end + len(_END_OF_HEAD) if end >= 0 else len(data)
        self._parse(data[self._parsed : min(stop, start + MAX_HEAD_BYTES)])
        if stop - start > MAX_HEAD_BYTES:
            raise ApiError(ErrorCode.HEADERS_TOO_LARGE)
        self._parsed = stop
        return self._finish(data[start : data.find(_END_OF_LINE, start)]) if end >= 0 else None

    def take_body(self) -> bytes:
        """Return the bytes of the current body that have arrived. Raises ApiError for faulty chunks."""
        if self._body is None:
            return b""
        data, self._start = self._body.take(self._data, self._start)
        if self._body.is_complete:
            self._body, self.in_body = None, False
        if self._start == len(self._data):
            self._drop_taken()
        return data

    def _drop_taken(self) -> None:
        """Hold nothing: all of it was handed out, and an idle connection keeps no read."""
        self._data, self._start = b"", 0

    def _begin(self) -> bool:
        """Start at the first byte of a head; empty lines before it are skipped."""
        if lines := _EMPTY_LINES.match(self._data, self._start):
            self._start = lines.end()
        if self._start == len(self._data):
            self._drop_taken()
            return False
        if self._start == len(self._data) - 1 and self._data.endswith(b"\r"):
            return False
        self._head = RequestHead()
        self._parser = httptools.HttpRequestParser(self._head)
        self._parsed = self._start
        return True

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer that is declined: the body, if any, is framed like every other
        except httptools.HttpParserError as error:
            raise bad_request(str(error) or "it can't be parsed") from None

    def _finish(self, start_line: bytes) -> RequestHead:
        head, parser = self._head, self._parser
        version = _VERSIONS.get(start_line[-9:])
        if version is None:
            raise bad_request("its version is neither HTTP/1.1 nor HTTP/1.0")
        head.version = version
        head.method = parser.get_method().decode("ascii")
        _read_framing(head)
        self._start = self._parsed
        if self._start == len(self._data):
            self._drop_taken()
        self._parser = None
        if head.body_length is None:
            self._body = ChunkedBody()
        elif head.body_length:
            self._body = FixedBody(head.body_length)
        self.in_body = self._body is not None
        return head


def _asks_to_close(head: RequestHead) -> bool:
    # The parser would know it only until it has read the end of a message without a body.
    values = [value.lower() for name, value in head.headers if name == b"connection"]
    return any(option.strip() == b"close" for value in values for option in value.split(b","))


def _read_framing(head: RequestHead) -> None:
    """Read what the headers say of the host, the connection, the body and the expectation."""
    names = [name for name, _ in head.headers]
    head.keep_alive = head.version == "1.1" and not (b"connection" in names and _asks_to_close(head))
    hosts = names.count(b"host")
    if hosts != 1:
        raise bad_request("it has no Host header" if hosts == 0 else "it has more than one Host header")
    if b"transfer-encoding" in names:
        coding = head.headers[names.index(b"transfer-encoding")][1]
        if names.count(b"transfer-encoding") > 1 or coding.strip().lower() != b"chunked" or head.version == "1.0":
            raise bad_request("its Transfer-Encoding is not `chunked` alone")
        head.body_length = None
    elif b"content-length" in names:
        # The parser has refused a second one, one beside Transfer-Encoding, and what is no number.
        length = head.headers[names.index(b"content-length")][1]
        if len(length) > _MAX_LENGTH_DIGITS:
            raise bad_request("its Content-Length has too many digits")
        head.body_length = int(length)
    if b"expect" in names and head.version == "1.1" and head.body_length != 0:
        head.expects_continue = head.headers[names.index(b"expect")][1].strip().lower() == b"100-continue"


class FixedBody:
    """A body of a declared length."""

    has_more = False

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been taken."""
        return self._left == 0

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Return what belongs to the body from `start` on, and where that ends."""
        piece = data[start : start + self._left]
        self._left -= len(piece)
        return piece, start + len(piece)


class ChunkedBody:
    """A body in chunks. Trailers are skipped: they must not add to the headers by which a request was judged."""

    def __init__(self) -> None:
        self.is_complete = False
        #: Whether the last call ended at the maximum number of chunks.
        self.has_more = False
        #: Bytes of the current chunk that have not been taken.
        self._left = 0
        self._at_chunk_end = False
        self._in_trailers = False
        self._trailer_bytes = 0

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Return the content from `start` on, and where the body ends as far as it has arrived. Raises ApiError."""
        pieces: list[bytes] = []
        position = start
        chunks, self.has_more = 0, False
        while not self._in_trailers:
            if chunks == _MAX_CHUNKS_AT_ONCE:
                self.has_more = True
                break
            chunks += 1
            if self._left:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._at_chunk_end = not self._left
            following = self._next_chunk(data, position)
            if following is None:
                break
            position = following
        if self._in_trailers:
            position = self._skip_trailers(data, position)
        return b"".join(pieces), position

    def _next_chunk(self, data: bytes, position: int) -> int | None:
        """Read the line end of a chunk and the next size line; return where they end, None until both are there."""
        if self._left:
            return None
        if self._at_chunk_end:
            line_end = data[position : position + 2]
            if not _END_OF_LINE.startswith(line_end):
                raise bad_request("a chunk is longer than its size")
            if len(line_end) < len(_END_OF_LINE):
                return None
            position += len(_END_OF_LINE)
        end = data.find(_END_OF_LINE, position, position + _MAX_CHUNK_LINE_BYTES + len(_END_OF_LINE))
        if end < 0:
            so_far = data[position : position + _MAX_CHUNK_LINE_BYTES + 2]
            if len(so_far) > _MAX_CHUNK_LINE_BYTES + 1 or not _CHUNK_LINE_SO_FAR.fullmatch(so_far):
                raise bad_request("a chunk has no valid size")
            return None
        line = _CHUNK_LINE.fullmatch(data[position:end])
        if line is None:
            raise bad_request("a chunk has no valid size")
        self._at_chunk_end = False
        self._left = int(line[1], 16)
        self._in_trailers = self._left == 0
        return end + len(_END_OF_LINE)

    def _skip_trailers(self, data: bytes, position: int) -> int:
        """Skip lines up to an empty one; return where the skipped bytes end."""
        while (end := data.find(_END_OF_LINE, position)) >= 0:
            empty = end == position
            if not (empty or _TRAILER.fullmatch(data, position, end)):
                raise bad_request("a trailer is no header")
            self._trailer_bytes += end + len(_END_OF_LINE) - position
            position = end + len(_END_OF_LINE)
            self._require_short_trailers(0)
            if empty:
                self.is_complete = True
                return position
        self._require_short_trailers(len(data) - position)
        return position

    def _require_short_trailers(self, more: int) -> None:
        if self._trailer_bytes + more > MAX_HEAD_BYTES:
            raise ApiError(ErrorCode.HEADERS_TOO_LARGE)
