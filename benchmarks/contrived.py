"""Bodies made to be expensive: 30 MB of what costs a validator most, mostly sent as some 30 KB of gzip."""

from __future__ import annotations

import contextlib
import gzip
from dataclasses import dataclass
from typing import Final

import msgspec
import orjson

_MB: Final = 1 << 20
_LIMIT: Final = 30 * _MB
_COLUMN: Final = "[" * 90 + "]" * 90
_TOO_DEEP: Final = "[" * 101 + "]" * 101
_ITEMS: Final = '{"stream":"s","items":['
_FIELDS: Final = '{"stream":"s","items":[{"id":"x","fields":{'
_CONTEXT: Final = '{"entries":[{"level":"info","message":"","context":{'
_MIXED: Final = '{"id":"é","fields":{"a":1,"a":"}"}}'
_RETAIN: Final = '{"stream":"s","ids":['
_ENTRIES: Final = '{"entries":['
_ITEM: Final = '{"id":"a"}'
_LONG_ID: Final = '{"id":"%s"}' % ("é" * 129)
_LONG_DECIMAL: Final = '{"id":"a","fields":{"a":0.%s}}' % ("1" * 999)
_MANY_ZEROS: Final = '{"id":"a","fields":{"a":0.%s1e10000}}' % ("0" * 9_000)
_REPEATED: Final = '{"id":"a",%s"name":1,"name":""}' % ('"name":"",' * 16)
_NESTED: Final = '{"id":"a","fields":{"a":[' + "{}," * 90_000 + "{}]}}"
#: What is validated at once, roughly: elements of one form may be put in front of many of another.
_RUN_BYTES: Final = 262_144


@dataclass(frozen=True)
class Contrived:
    """A body and where it is sent."""

    name: str
    path: str
    body: bytes
    is_gzip: bool
    #: Bytes after decompression.
    size: int

    @property
    def head(self) -> bytes:
        """The head of a request up to its credential."""
        coding = b"Content-Encoding: gzip\r\n" if self.is_gzip else b""
        return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n" % (
            self.path.encode(),
            coding,
            len(self.body),
        )


def contrived() -> list[Contrived]:
    """Return the bodies."""
    found = [_packed(name, path, _filled(*parts)) for name, path, parts in _BODIES]
    text = b'{"a":"' + b"\\n" * (_LIMIT // 2 - 8) + b'"}'
    found.append(_packed("heartbeat: one string of escapes", "/api/ingest/heartbeat", text))
    found.append(_packed("a string without an end", "/api/ingest", text[:-2]))
    pairs = b'{"a":"' + rb"\ud83d\ude00" * (_LIMIT // 12 - 2) + rb'\ud800"}'
    found.append(_packed("half a surrogate pair behind whole ones", "/api/ingest", pairs))
    nul = rb'{"a":"\u0000' + rb"\\" * (_LIMIT // 2 - 8) + b'"}'
    found.append(_packed("heartbeat: U+0000 in front of 30 MB", "/api/ingest/heartbeat", nul))
    too_large = _filled('{"a":[', "1", "]}") + b" " * _MB
    found.append(_packed("30 MB and one byte", "/api/ingest", too_large[: _LIMIT + 1]))
    members = gzip.compress(b"", mtime=0) * (_LIMIT // 20)
    found.append(Contrived("1.5 million empty gzip members", "/api/ingest", members, is_gzip=True, size=0))
    tiny = _filled(_ITEMS, '{"id":"a"}', "]}")
    found.append(
        Contrived("items with an id alone, not compressed", "/api/ingest", tiny, is_gzip=False, size=len(tiny))
    )
    return found


def pass_over(body: bytes) -> None:
    """Parse a body in C, as far as it is JSON, and keep nothing of it."""
    with contextlib.suppress(msgspec.DecodeError):
        msgspec.json.decode(body, type=msgspec.Raw)


def build(body: bytes) -> None:
    """Parse a body in C, as far as it is JSON, into the objects of Python that it stands for."""
    with contextlib.suppress(orjson.JSONDecodeError):
        orjson.loads(body)


def plain(one: Contrived) -> bytes:
    """Return the body as it is validated, empty if it never is."""
    if not one.size:
        return b""
    return gzip.decompress(one.body) if one.is_gzip else one.body


def _fields(value: str) -> str:
    """Return an item with as many fields as it may have."""
    fields = ",".join(f'"{number:x}":{value}' for number in range(200))
    return f'{{"id":"a","fields":{{{fields}}}}}'


def _entry(timestamp: str) -> str:
    return f'{{"level":"info","message":"","timestamp":"{timestamp}"}}'


def _repeated(timestamp: str) -> str:
    """Return an entry with a timestamp 150 times, of which the last one counts."""
    return '{"level":"info","message":""' + f',"timestamp":"{timestamp}"' * 150 + "}"


def _behind(first: str, unit: str) -> str:
    """Return elements of one form behind those of another, as many as are validated at once."""
    return ",".join([first, *[unit] * ((_RUN_BYTES - len(first)) // (len(unit) + 1) + 1)])


def _by_turns(content: str, end: str = '"name":"},{"') -> str:
    """Return two items, a short one and one over half a megabyte long, with what looks like its end in a string."""
    count = 2 * _RUN_BYTES // (len(content.encode()) + 1) + 1
    return f'{_ITEM},{{"id":"a",{",".join([content] * count)},{end}}}'


def _escaped(name: str, value: str) -> str:
    return '"fields":{' + ",".join([f'"{name}":{value}'] * 200) + "}"


def _unlike_names() -> str:
    """Return items whose ids and names are as long as may be, in escapes, no two of a length in characters."""
    escapes = ((r"\u0041", 1), (r"\u07ff", 2), (r"\u20ac", 3), (r"\ud83d\ude00", 4))
    items = [
        f'{{"id":"{_sized(512, shift, *one)}","name":"{_sized(1_024, shift, *one)}"}}'
        for one in escapes
        for shift in range(4)
    ]
    return ",".join([*items * 4, '{"id":"a","name":"}{","fields":{"a":1e100}}'])


def _sized(size: int, shift: int, escape: str, escaped_bytes: int) -> str:
    count, rest = divmod(size - shift, escaped_bytes)
    return "x" * shift + escape * count + "x" * rest


def _unlike_times() -> str:
    """Return entries by turns of the first day, of the last, and with a leap second, no two timestamps alike."""
    times = [
        time
        for minute, offset in zip(range(598, 1_438), range(840), strict=True)
        for time in (
            f"0001-01-01T{_clock(minute)}:{minute % 60:02}+{_clock(offset % (minute + 1))}",
            f"9999-12-31T{_clock(minute)}:59.{'9' * (minute % 6)}8-{_clock(1_438 - minute)}",
            f"2016-12-31T{_clock(1_439 - offset)}:60-{_clock(offset)}",
        )
    ]
    return ",".join(f'{{"level":"info","message":"","timestamp":"{time}"}}' for time in times)


def _short_and_long() -> str:
    """Return an item of numbers, and one that does not stand beside it in what is validated at once."""
    repeated = ",".join(['"fields":{"a":1e-999}'] * 1_400)
    return f'{{{repeated},"id":"{"é" * 200}"}},{{"id":"a","fields":{{"a":"{"x" * 232_000}"}}}}'


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


_BODIES: Final = (
    *(
        (f"heartbeat: {unit[:12]}, …", "/api/ingest/heartbeat", ('{"a":[', unit, "]}"))
        for unit in ("1", "[]", '"["', '["["]', "1e900", _COLUMN)
    ),
    ('heartbeat: "a":1, …', "/api/ingest/heartbeat", ("{", '"a":1', "}")),
    ("heartbeat: columns, the last too deep", "/api/ingest/heartbeat", ('{"a":[', _COLUMN, f",{_TOO_DEEP}]}}")),
    ("webhook: [], …", "/api/webhook/s", ('{"id":"a","a":[', "[]", "]}")),
    ('webhook: "a":1, …', "/api/webhook/s", ('{"id":"a",', '"a":1', "}")),
    (
        "webhook: a pointer of eight names, [], …",
        "/api/webhook/s?idField=/a/a/a/a/a/a/a/a",
        ('{"a":' * 8 + '1,"b":[', "[]", "]" + "}" * 8),
    ),
    *(
        (f"items: {unit[:28]}, …", "/api/ingest", (_ITEMS, unit, "]}"))
        for unit in ("1", "{}", _ITEM, '{"id":"é"}', '{"id":"}"}', '{"id":"a","tags":{}}', '{"id":"a","deleted":true}')
    ),
    *(
        (f"items: 200 fields of {value[:12]}", "/api/ingest", (_ITEMS, _fields(value), "]}"))
        for value in ("1", "1.5", "1e0000", "12e990", "0e1000", "0.000001e990", "1.1e-990")
    ),
    *(
        (f"items: 200 fields of {name}", "/api/ingest", (_ITEMS, _fields(value), "]}"))
        for name, value in (
            ("102 digits, e898", "9" * 102 + "e898"),
            ("301 digits, e-699", "9" * 301 + "e-699"),
            ("0.00…1e1290", f"0.{'0' * 295}1e1290"),
            ("901 digits, e90", "9" * 901 + "e90"),
        )
    ),
    ("items: a number of 9,000 zeros", "/api/ingest", (_ITEMS, _MANY_ZEROS, "]}")),
    ("items by turns: 32 KB of 1e-999, a string", "/api/ingest", (_ITEMS, _short_and_long(), "]}")),
    ("items: 200 fields of 1, one of 12e990", "/api/ingest", (_ITEMS, _behind(_fields("12e990"), _fields("1")), "]}")),
    ("items: 200 fields of strings of 1e9999", "/api/ingest", (_ITEMS, _fields(f'"{"1e9999 " * 700}"'), "]}")),
    ("items: 200 fields of 1, an id of 258 bytes", "/api/ingest", (_ITEMS, _behind(_LONG_ID, _fields("1")), "]}")),
    ("items: ids and names of escapes, all unlike", "/api/ingest", (_ITEMS, _unlike_names(), "]}")),
    ("log: the first day, the last and leap seconds, all unlike", "/api/ingest/log", (_ENTRIES, _unlike_times(), "]}")),
    ("items: mixed, members shadowed", "/api/ingest", (_ITEMS, _MIXED, "]}")),
    ("items: 17 members, a shadowed one wrong", "/api/ingest", (_ITEMS, _behind(_REPEATED, _ITEM), "]}")),
    (
        "items: an id alone, nine of long decimals",
        "/api/ingest",
        (_ITEMS, _behind(f"{_LONG_DECIMAL}," * 9 + _ITEM, _ITEM), "]}"),
    ),
    ('fields: "a":1, …', "/api/ingest", (_FIELDS, '"a":1', "}}]}")),
    ('one item: "fields":{}, …', "/api/ingest", ('{"stream":"s","items":[{"id":"x",', '"fields":{}', "}]}")),
    *((f"retain: {unit}, …", "/api/ingest/retain", (_RETAIN, unit, "]}")) for unit in ('"a"', '"é"', '","')),
    (
        "items: a nested value behind as many as are validated at once",
        "/api/ingest",
        (_ITEMS, ",".join([*[_ITEM] * 20_000, _NESTED]), "]}"),
    ),
    ('items: "id":"},{", …', "/api/ingest", (_ITEMS, '{"id":"},{"}', "]}")),
    *(
        (f"items by turns: {name}", "/api/ingest", (_ITEMS, _by_turns(*parts), "]}"))
        for name, parts in (
            ("names, a wide one last", ('"tags":{},' + ",".join(['"name":""'] * 190), f'"name":"{"é" * 300}"')),
            ("fields with escaped names", (_escaped(r"\n" * 129, "1"),)),
            ("fields of escaped backslashes", (_escaped("a", rf'"{chr(92) * 400}u0000"'),)),
            ("fields of 301 digits, e-699", (_escaped("a", "9" * 301 + "e-699"),)),
        )
    ),
    (
        "items over a megabyte, escaped names",
        "/api/ingest",
        (_ITEMS, _by_turns(",".join([_escaped(r"\n" * 129, '"\\\\u0000"')] * 20)), "]}"),
    ),
    ("log: no timestamp", "/api/ingest/log", (_ENTRIES, '{"level":"info","message":""}', "]}")),
    ("log: timestamps", "/api/ingest/log", (_ENTRIES, _entry("2026-01-01T00:00:00Z"), "]}")),
    ("log: leap seconds", "/api/ingest/log", (_ENTRIES, _entry("2026-07-01T01:59:60+02:00"), "]}")),
    ("log: the last day, shadowed 150 times", "/api/ingest/log", (_ENTRIES, _repeated("9999-12-31T00:00:00Z"), "]}")),
    ("log: the last day of all", "/api/ingest/log", (_ENTRIES, _entry("9999-12-31T00:00:00-01:00"), "]}")),
    ('context: "a":1, …', "/api/ingest/log", (_CONTEXT, '"a":1', "}}]}")),
)


def _filled(start: str, unit: str, end: str) -> bytes:
    count = (_LIMIT - len(start) - len(end)) // (len(unit.encode()) + 1)
    return (start + ",".join([unit] * count) + end).encode()


def _packed(name: str, path: str, body: bytes) -> Contrived:
    return Contrived(name, path, gzip.compress(body, mtime=0), is_gzip=True, size=len(body))
