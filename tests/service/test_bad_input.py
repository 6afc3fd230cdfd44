"""Bad input over HTTP: a problem with a stable code and a pointer to the place, no effect, and no line in the log."""

from __future__ import annotations

import gzip
import json
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest

from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import Answer, connected, request_bytes

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
LINES: Final = "application/x-ndjson"

LARGE: Final = event_bytes(data="x" * (256 * 1024))
DEEP: Final = b'{"type":"a","source":"b","data":' + b"[" * 64 + b"]" * 64 + b"}"
DEEPEST: Final = b"[" * 200_000


def with_members(**members: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """An event with members that may be wrong."""
    return json.dumps({"type": "task.created", "source": "/tests", **members}).encode()


class Refusal(NamedTuple):
    """What a bad request is answered with; no pointer where no place in the input is to blame."""

    status: int
    code: str
    pointer: str | None = None


EVENTS: Final[list[tuple[str, bytes, Refusal]]] = [
    ("empty", b"", Refusal(400, "malformed_json", "#")),
    ("blank", b" \r\n ", Refusal(400, "malformed_json", "#")),
    ("not JSON", b"nonsense", Refusal(400, "malformed_json", "#")),
    ("cut short", b'{"type":"a","source":"b"', Refusal(400, "malformed_json", "#")),
    ("two texts", event_bytes() + b" {}", Refusal(400, "malformed_json", "#")),
    ("single quotes", b"{'type':'a','source':'b'}", Refusal(400, "malformed_json", "#")),
    ("byte order mark", b"\xef\xbb\xbf" + event_bytes(), Refusal(400, "malformed_json", "#")),
    ("UTF-16", '{"type":"a","source":"b"}'.encode("utf-16"), Refusal(400, "malformed_json", "#")),
    ("Latin-1", b'{"type":"a","source":"b","data":"\xe9"}', Refusal(400, "malformed_json", "#")),
    ("overlong UTF-8", b'{"type":"a","source":"b","data":"\xc0\xaf"}', Refusal(400, "malformed_json", "#")),
    ("surrogate in UTF-8", b'{"type":"a","source":"b","data":"\xed\xa0\x80"}', Refusal(400, "malformed_json", "#")),
    ("lone surrogate", rb'{"type":"a","source":"b","data":"\ud800"}', Refusal(400, "malformed_json", "#")),
    ("lone low surrogate", rb'{"type":"a","source":"b","data":"\udc00"}', Refusal(400, "malformed_json", "#")),
    ("swapped surrogates", rb'{"type":"a","source":"b","data":"\udc00\ud800"}', Refusal(400, "malformed_json", "#")),
    ("raw control character", b'{"type":"a","source":"b","data":"\x01"}', Refusal(400, "malformed_json", "#")),
    ("NaN", b'{"type":"a","source":"b","data":NaN}', Refusal(400, "malformed_json", "#")),
    ("Infinity", b'{"type":"a","source":"b","data":-Infinity}', Refusal(400, "malformed_json", "#")),
    ("leading zero", b'{"type":"a","source":"b","data":01}', Refusal(400, "malformed_json", "#")),
    ("too deep", DEEP, Refusal(400, "too_deep", "#")),
    ("very deep", DEEPEST, Refusal(400, "too_deep", "#")),
    (
        "integer too large",
        b'{"type":"a","source":"b","data":{"n":[18446744073709551616]}}',
        Refusal(400, "number_out_of_range", "#/data/n/0"),
    ),
    (
        "integer too small",
        b'{"type":"a","source":"b","data":-9223372036854775809}',
        Refusal(400, "number_out_of_range", "#/data"),
    ),
    (
        "float overflows",
        b'{"type":"a","source":"b","data":{"a/b":1e400}}',
        Refusal(400, "number_out_of_range", "#/data/a~1b"),
    ),
    ("5,000 digits", b'{"type":"a","source":"b","data":%b}' % (b"9" * 5000), Refusal(400, "number_out_of_range", "#")),
    ("an array", b"[]", Refusal(400, "invalid_event", "#")),
    ("a string", b'"event"', Refusal(400, "invalid_event", "#")),
    ("null", b"null", Refusal(400, "invalid_event", "#")),
    ("no members", b"{}", Refusal(400, "invalid_event", "#/source")),
    ("no type", b'{"source":"/a"}', Refusal(400, "invalid_event", "#/type")),
    ("null type", b'{"source":"/a","type":null}', Refusal(400, "invalid_event", "#/type")),
    ("type a number", b'{"source":"/a","type":1}', Refusal(400, "invalid_event", "#/type")),
    ("type empty", b'{"source":"/a","type":""}', Refusal(400, "invalid_event", "#/type")),
    ("type with a space", b'{"source":"/a","type":"a b"}', Refusal(400, "type_unsupported", "#/type")),
    ("type with a star", b'{"source":"/a","type":"a.*"}', Refusal(400, "type_unsupported", "#/type")),
    ("type not ASCII", '{"source":"/a","type":"é"}'.encode(), Refusal(400, "type_unsupported", "#/type")),
    ("type with a line end", rb'{"source":"/a","type":"a\r\nX: y"}', Refusal(400, "type_unsupported", "#/type")),
    ("type too long", event_bytes("t" * 256), Refusal(400, "type_unsupported", "#/type")),
    ("no source", b'{"type":"a"}', Refusal(400, "invalid_event", "#/source")),
    ("source empty", b'{"type":"a","source":""}', Refusal(400, "invalid_event", "#/source")),
    ("source with a space", b'{"type":"a","source":"a b"}', Refusal(400, "invalid_event", "#/source")),
    ("id empty", with_members(id=""), Refusal(400, "invalid_event", "#/id")),
    ("id a number", with_members(id=7), Refusal(400, "invalid_event", "#/id")),
    ("id with CR LF", with_members(id="a\r\nb"), Refusal(400, "invalid_event", "#/id")),
    ("id with NUL", with_members(id="a\x00"), Refusal(400, "invalid_event", "#/id")),
    ("id with an escape sequence", with_members(id="\x1b[31mred"), Refusal(400, "invalid_event", "#/id")),
    ("specversion 0.3", with_members(specversion="0.3"), Refusal(400, "invalid_event", "#/specversion")),
    ("specversion a number", with_members(specversion=1.0), Refusal(400, "invalid_event", "#/specversion")),
    ("time no time", with_members(time="yesterday"), Refusal(400, "invalid_event", "#/time")),
    ("time without zone", with_members(time="2026-01-31T12:00:00"), Refusal(400, "invalid_event", "#/time")),
    ("time off the calendar", with_members(time="2026-02-30T12:00:00Z"), Refusal(400, "invalid_event", "#/time")),
    ("subject empty", with_members(subject=""), Refusal(400, "invalid_event", "#/subject")),
    ("dataschema relative", with_members(dataschema="x/y"), Refusal(400, "invalid_event", "#/dataschema")),
    ("datacontenttype", with_members(datacontenttype="nonsense"), Refusal(400, "invalid_event", "#/datacontenttype")),
    ("extension upper case", with_members(Trace="x"), Refusal(400, "invalid_event", "#/Trace")),
    ("extension underscore", with_members(a_b="x"), Refusal(400, "invalid_event", "#/a_b")),
    ("extension empty name", with_members(**{"": "x"}), Refusal(400, "invalid_event", "#/")),
    ("extension __proto__", with_members(__proto__="x"), Refusal(400, "invalid_event", "#/__proto__")),
    ("extension an object", with_members(ext={}), Refusal(400, "invalid_event", "#/ext")),
    ("extension a fraction", with_members(ext=1.5), Refusal(400, "invalid_event", "#/ext")),
    ("extension over 32 bits", with_members(ext=2**31), Refusal(400, "invalid_event", "#/ext")),
    ("extension noncharacter", with_members(ext="\uffff"), Refusal(400, "invalid_event", "#/ext")),
    ("pointer escaped", with_members(**{"a/b~c": "x"}), Refusal(400, "invalid_event", "#/a~1b~0c")),
    ("repeated attribute", b'{"type":"a","type":"b","source":"c"}', Refusal(400, "malformed_json", "#")),
    ("data twice", with_members(data=1, data_base64="AQ=="), Refusal(400, "invalid_event", "#/data_base64")),
    (
        "null data and bytes",
        b'{"type":"a","source":"b","data":null,"data_base64":"AQ=="}',
        Refusal(400, "invalid_event", "#/data_base64"),
    ),
    ("data_base64 no text", with_members(data_base64=1), Refusal(400, "invalid_event", "#/data_base64")),
    ("data_base64 no Base64", with_members(data_base64="@@"), Refusal(400, "invalid_event", "#/data_base64")),
    ("priority", with_members(priority="urgent"), Refusal(400, "invalid_event", "#/priority")),
    ("expirytime", with_members(expirytime="soon"), Refusal(400, "invalid_event", "#/expirytime")),
    ("deliverat", with_members(deliverat="soon"), Refusal(400, "invalid_event", "#/deliverat")),
    ("over 256 KiB", LARGE, Refusal(413, "event_too_large", "#")),
]


def expect(answer: Answer, refusal: Refusal) -> None:
    """The answer is that problem, and points there."""
    assert (answer.status, answer.code) == refusal[:2], answer
    if refusal.pointer is not None:
        assert refusal.pointer in [violation["pointer"] for violation in answer.json()["errors"]], answer.json()
    for violation in answer.json().get("errors", []):
        assert violation["detail"], violation
        assert violation["code"], violation


@pytest.mark.parametrize(("body", "refusal"), [row[1:] for row in EVENTS], ids=[row[0] for row in EVENTS])
async def test_one_event(service: WatchedService, body: bytes, refusal: Refusal) -> None:
    """A bad event in structured form is refused with its code and its place, as either JSON content type."""
    for content_type in (STRUCTURED, "application/json"):
        expect(await service.publish(body, content_type), refusal)


async def test_bad_events_of_lines(service: WatchedService) -> None:
    """In lines each bad event fails alone, with the code and the place it has alone: 207, and the good ones are in."""
    readable = [row[1:] for row in EVENTS if row[0] not in {"empty", "blank", "UTF-16", "very deep"}]
    for start in range(0, len(readable), 20):
        chosen = readable[start : start + 20]
        lines = [event_bytes(), *(body for body, _ in chosen), event_bytes()]
        answer = await service.publish(b"\n".join(lines) + b"\n", LINES)
        assert answer.status == 207, answer
        results = answer.json()["results"]
        assert [result["status"] for result in results] == ["ok", *["error"] * len(chosen), "ok"]
        for result, (_, refusal) in zip(results[1:-1], chosen, strict=True):
            assert result["code"] == refusal.code
            assert refusal.pointer in [violation["pointer"] for violation in result["errors"]]
            assert result["retryable"] is False


async def test_bad_events_of_a_batch(service: WatchedService) -> None:
    """In a batch each event that breaks a rule fails alone: 207, a result an event in order, the good ones are in."""
    codes = {"invalid_event", "type_unsupported", "number_out_of_range", "not_available"}
    chosen = [(body, refusal.code) for _, body, refusal in EVENTS if refusal.code in codes]
    answer = await service.publish(b"[" + b",".join([event_bytes(), *(body for body, _ in chosen)]) + b"]", BATCH)
    assert answer.status == 207
    assert [result.get("code") for result in answer.json()["results"]] == [None, *(code for _, code in chosen)]
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, len(chosen))


WHOLE_BATCHES: Final = [
    ("not JSON", b"nonsense", 400, "malformed_json"),
    ("empty", b"", 400, "malformed_json"),
    ("an object", event_bytes(), 400, "invalid_request"),
    ("null", b"null", 400, "invalid_request"),
    ("cut short", b"[" + event_bytes(), 400, "malformed_json"),
    ("an item that is no JSON", b"[" + event_bytes() + b",nonsense]", 400, "malformed_json"),
    ("trailing comma", b"[" + event_bytes() + b",]", 400, "malformed_json"),
    ("very deep", DEEPEST, 400, "too_deep"),
    ("1,001 events", b"[" + b",".join([event_bytes()] * 1001) + b"]", 413, "batch_too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), [row[1:] for row in WHOLE_BATCHES])
async def test_a_batch_that_fails_whole(service: WatchedService, body: bytes, status: int, code: str) -> None:
    """A batch that cannot be taken apart, or has too many events, fails whole and stores nothing."""
    expect(await service.publish(body, BATCH), Refusal(status, code, "#"))


async def test_limits_of_batches(service: WatchedService) -> None:
    """1,000 events are a batch, 1,001 lines are not; nothing at all is 200; only bad ones are 422."""
    answer = await service.publish(b"\n".join([event_bytes()] * 1000), LINES)
    assert (answer.status, answer.json()["accepted"]) == (200, 1000)
    expect(await service.publish(b"\n".join([event_bytes()] * 1001), LINES), Refusal(413, "batch_too_large", "#"))
    assert (await service.publish(b"[]", BATCH)).json() == {"accepted": 0, "rejected": 0, "results": []}
    assert (await service.publish(b"\n\r\n", LINES)).json() == {"accepted": 0, "rejected": 0, "results": []}
    assert (await service.publish(b"[{},1]", BATCH)).status == 422


async def test_limits_of_bytes(service: WatchedService) -> None:
    """An event of exactly 256 KiB is stored; a body over 8 MiB is refused, whole, packed or in chunks."""
    members = {"type": "a", "source": "b", "id": "size", "time": "2026-01-01T00:00:00Z", "specversion": "1.0"}
    empty = json.dumps({**members, "data": ""}, separators=(",", ":")).encode()
    fitting = empty[:-2] + b"x" * (256 * 1024 - len(empty)) + empty[-2:]
    assert (await service.publish(fitting)).status == 200
    expect(await service.publish(fitting.replace(b"size", b"sizes")), Refusal(413, "event_too_large", "#"))
    large = b" " * (8 * 1024 * 1024 + 1)
    expect(await service.publish(large), Refusal(413, "too_large"))
    expect(await service.publish(gzip.compress(large), Content_Encoding="gzip"), Refusal(413, "too_large"))
    async with connected(service.port) as wire:
        headers = {"Content-Type": STRUCTURED, "Transfer-Encoding": "chunked"}
        await wire.send(request_bytes("POST", "/v1/events", headers))
        for _ in range(9):
            await wire.send(b"100000\r\n", b" " * 0x100000, b"\r\n")
        expect(await wire.answer(), Refusal(413, "too_large"))


TYPE, SOURCE = ("ce-type", "a"), ("ce-source", "/a")
JSON_DATA, TEXT_DATA = ("Content-Type", "application/json"), ("Content-Type", "text/plain")

BINARY: Final[list[tuple[list[tuple[str, str]], bytes, Refusal]]] = [
    ([SOURCE, ("ce-id", "1")], b"", Refusal(400, "invalid_event", "#/type")),
    ([TYPE], b"", Refusal(400, "invalid_event", "#/source")),
    ([("ce-type", ""), SOURCE], b"", Refusal(400, "invalid_event", "#/type")),
    ([("ce-type", "a b"), SOURCE], b"", Refusal(400, "type_unsupported", "#/type")),
    ([TYPE, ("CE-Type", "b"), SOURCE], b"", Refusal(400, "invalid_event", "#/type")),
    ([TYPE, SOURCE, ("ce-id", "1"), ("ce-id", "1")], b"", Refusal(400, "invalid_event", "#/id")),
    ([TYPE, SOURCE, ("ce-id", "a%0d%0ab")], b"", Refusal(400, "invalid_event", "#/id")),
    ([TYPE, SOURCE, ("ce-id", "%ff")], b"", Refusal(400, "invalid_event", "#/id")),
    ([TYPE, SOURCE, ("ce-id", "\xff")], b"", Refusal(400, "invalid_event", "#/id")),
    ([TYPE, SOURCE, ("ce-a_b", "1")], b"", Refusal(400, "invalid_event", "#/a_b")),
    ([TYPE, SOURCE, ("ce-", "1")], b"", Refusal(400, "invalid_event", "#/")),
    ([TYPE, SOURCE, ("ce-data", "1")], b"", Refusal(400, "invalid_event", "#/data")),
    ([TYPE, SOURCE, ("ce-datacontenttype", "a/b")], b"", Refusal(400, "invalid_event", "#/datacontenttype")),
    ([TYPE, SOURCE, ("ce-specversion", "9")], b"", Refusal(400, "invalid_event", "#/specversion")),
    ([TYPE, SOURCE, ("Content-Type", "nonsense")], b"x", Refusal(415, "unsupported_media_type")),
    ([TYPE, SOURCE, ("Content-Type", "\xff/\xfe")], b"x", Refusal(400, "invalid_event", "#/datacontenttype")),
    ([TYPE, SOURCE, JSON_DATA], b"{", Refusal(400, "malformed_json", "#")),
    ([TYPE, SOURCE, JSON_DATA], b"NaN", Refusal(400, "malformed_json", "#")),
    ([TYPE, SOURCE, JSON_DATA], b"[" * 65 + b"]" * 65, Refusal(400, "too_deep", "#")),
    ([TYPE, SOURCE, TEXT_DATA], b"x" * 262_144, Refusal(413, "event_too_large", "#")),
    ([TYPE, SOURCE, ("Idempotency-Key", "")], b"", Refusal(400, "invalid_parameter", "#")),
    ([TYPE, SOURCE, ("Idempotency-Key", "k" * 300)], b"", Refusal(400, "invalid_parameter", "#")),
    ([TYPE, SOURCE, ("Idempotency-Key", "\xe9")], b"", Refusal(400, "invalid_parameter", "#")),
]


@pytest.mark.parametrize(("headers", "body", "refusal"), BINARY, ids=lambda value: repr(value)[:80])
async def test_binary_mode(
    service: WatchedService, headers: list[tuple[str, str]], body: bytes, refusal: Refusal
) -> None:
    """A bad event in binary mode is refused with its code and the attribute."""
    expect(await service.call("POST", "/v1/events", headers, body), refusal)


async def test_an_id_used_for_other_content(service: WatchedService) -> None:
    """The same id and source with the same content is the first receipt again; with other content it is 409."""
    first = await service.publish(event_bytes(id="same", data=1))
    again = await service.publish(event_bytes(id="same", data=1))
    assert again.json() == first.json() | {"duplicate": True}
    expect(await service.publish(event_bytes(id="same", data=2)), Refusal(409, "id_reused"))


REQUESTS: Final[list[tuple[str, str, dict[str, str], Refusal]]] = [
    ("POST", "/v1/events?dry=1", {"Content-Type": STRUCTURED}, Refusal(400, "unknown_parameter", "#/query/dry")),
    ("POST", "/v1/events", {}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": "text/plain"}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": "nonsense"}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": "\xff\xfe/json"}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": f"{STRUCTURED}; charset=utf-16"}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": f"{STRUCTURED}; charset=\xff"}, Refusal(415, "unsupported_media_type")),
    ("POST", "/v1/events", {"Content-Type": "multipart/form-data; boundary=x"}, Refusal(415, "unsupported_media_type")),
    (
        "POST",
        "/v1/events",
        {"Content-Type": STRUCTURED, "Content-Encoding": "br"},
        Refusal(415, "unsupported_media_type"),
    ),
    (
        "POST",
        "/v1/events",
        {"Content-Type": STRUCTURED, "Content-Encoding": "gzip, gzip"},
        Refusal(415, "unsupported_media_type"),
    ),
    (
        "POST",
        "/v1/events",
        {"Content-Type": STRUCTURED, "Content-Encoding": "deflate"},
        Refusal(415, "unsupported_media_type"),
    ),
    (
        "POST",
        "/v1/events",
        {"Content-Type": STRUCTURED, "Content-Encoding": "\xff"},
        Refusal(415, "unsupported_media_type"),
    ),
    ("GET", "/v1/events?patern=a", {}, Refusal(400, "unknown_parameter", "#/query/patern")),
    ("GET", "/v1/events?%ff%00=a", {}, Refusal(400, "unknown_parameter")),
    ("GET", "/v1/events?filter=a", {}, Refusal(400, "not_available", "#/query/filter")),
    ("GET", "/v1/events?pattern=", {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?pattern=a&pattern=%5Ba", {}, Refusal(400, "invalid_pattern", "#/query/pattern/1")),
    ("GET", "/v1/events?pattern=a%5C", {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?pattern=%C3%A9", {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?pattern=%00", {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?pattern=" + "a" * 256, {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?pattern=" + "*a" * 17, {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/events?" + "&".join(["pattern=a"] * 257), {}, Refusal(400, "invalid_pattern", "#/query/pattern")),
    ("GET", "/v1/events?limit=0", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=1001", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=-1", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=1e2", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=%D9%A1", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=" + "0" * 19 + "1" * 40, {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=" + "0" * 19 + "1" * 5000, {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?limit=1&limit=2", {}, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/v1/events?order=up", {}, Refusal(400, "invalid_parameter", "#/query/order")),
    ("GET", "/v1/events?from=nonsense", {}, Refusal(400, "invalid_cursor", "#/query/from")),
    ("GET", "/v1/events?from=", {}, Refusal(400, "invalid_cursor", "#/query/from")),
    ("GET", "/v1/events?to=2026-02-30T00:00:00Z", {}, Refusal(400, "invalid_cursor", "#/query/to")),
    ("GET", "/v1/events?from=9999999999999-0", {}, Refusal(400, "invalid_parameter", "#/query/from")),
    ("GET", "/v1/events?from=1-1048576", {}, Refusal(400, "invalid_parameter", "#/query/from")),
    ("GET", "/v1/events?from=" + "A" * 5000, {}, Refusal(400, "invalid_cursor", "#/query/from")),
    ("GET", "/v1/events", {"Accept": "text/html"}, Refusal(406, "not_acceptable")),
    ("GET", "/v1/events", {"Accept": "application/json;q=0"}, Refusal(406, "not_acceptable")),
    ("GET", "/v1/events/nonsense", {}, Refusal(400, "invalid_parameter", "#/path/position")),
    ("GET", "/v1/events/1-0", {}, Refusal(404, "not_found")),
    ("GET", "/v1/events/1-0", {"Accept": "text/html"}, Refusal(406, "not_acceptable")),
    ("GET", "/v1/events/1-0?mode=tertiary", {}, Refusal(400, "invalid_parameter", "#/query/mode")),
    ("GET", "/v1/events/1-0/deliveries", {}, Refusal(404, "not_found")),
    ("GET", "/v1/log?x=1", {}, Refusal(400, "unknown_parameter", "#/query/x")),
    ("GET", "/v1/stream?pattern=%5B", {}, Refusal(400, "invalid_pattern", "#/query/pattern/0")),
    ("GET", "/v1/stream?from=nonsense", {}, Refusal(400, "invalid_cursor", "#/query/from")),
    ("GET", "/v1/stream", {"Last-Event-ID": "nonsense"}, Refusal(400, "invalid_cursor", "#/headers/Last-Event-ID")),
    ("GET", "/v1/stream", {"Last-Event-ID": "\xff"}, Refusal(400, "invalid_cursor", "#/headers/Last-Event-ID")),
    ("GET", "/v1/stream", {"Accept": "application/json"}, Refusal(406, "not_acceptable")),
    ("GET", "/v1/stream", {"Accept": "\xff"}, Refusal(406, "not_acceptable")),
    ("GET", "/v1/ws", {}, Refusal(400, "invalid_request", "#")),
    ("GET", "/health?verbose=1", {}, Refusal(400, "unknown_parameter", "#/query/verbose")),
    ("GET", "/health?details=maybe", {}, Refusal(400, "invalid_parameter", "#/query/details")),
    ("GET", "/ready?x", {}, Refusal(400, "unknown_parameter", "#/query/x")),
    ("GET", "/metrics?format=xml", {}, Refusal(400, "invalid_parameter", "#/query/format")),
    ("GET", "/metrics", {"Accept": "image/png"}, Refusal(406, "not_acceptable")),
    ("GET", "/", {}, Refusal(404, "not_found")),
    ("GET", "/v1", {}, Refusal(404, "not_found")),
    ("GET", "/v1/event", {}, Refusal(404, "not_found")),
    ("GET", "/v1/events/", {}, Refusal(404, "not_found")),
    ("GET", "//v1/events", {}, Refusal(404, "not_found")),
    ("GET", "/v1/%ff%00%0d%0aSet-Cookie:x", {}, Refusal(404, "not_found")),
    ("GET", "/v1/../../etc/passwd", {}, Refusal(404, "not_found")),
    ("GET", "/v1/subscriptions/x", {}, Refusal(404, "not_found")),
    ("GET", "/v1/replays/x", {}, Refusal(404, "not_available")),
    ("PUT", "/v1/schemas/x", {}, Refusal(404, "not_available")),
    ("GET", "/v1/subscriptionsx", {}, Refusal(404, "not_found")),
    ("DELETE", "/v1/events", {}, Refusal(405, "method_not_allowed")),
    ("POST", "/v1/log", {}, Refusal(405, "method_not_allowed")),
]


@pytest.mark.parametrize(("method", "target", "headers", "refusal"), REQUESTS, ids=lambda value: str(value)[:60])
async def test_requests(
    service: WatchedService, method: str, target: str, headers: dict[str, str], refusal: Refusal
) -> None:
    """A request outside its rules is a problem: parameters, headers, routes, methods, representations."""
    body = event_bytes() if method in {"POST", "PUT"} else None
    answer = await service.call(method, target, headers, body)
    expect(answer, refusal)
    if refusal.status == 405:
        assert answer.header("Allow")


async def test_cursors(service: WatchedService) -> None:
    """A cursor that was changed by one character, or belongs to another bus, is 400; a good one is not."""
    cursor = (await service.call("GET", "/v1/log")).json()["cursor"]
    assert (await service.call("GET", f"/v1/events?from={cursor}")).status == 200
    middle = len(cursor) // 2
    mangled = cursor[:middle] + ("A" if cursor[middle] != "A" else "B") + cursor[middle + 1 :]
    for wrong in (mangled, cursor[:-1], cursor + "A", quote(cursor + "="), quote("é" + cursor)):
        for target in ("/v1/events", "/v1/stream"):
            expect(await service.call("GET", f"{target}?from={wrong}"), Refusal(400, "invalid_cursor", "#/query/from"))


async def test_a_cursor_of_another_bus(service: WatchedService) -> None:
    """A cursor that is well formed and was made for another bus is refused as one."""
    from waooaw.events.cursor import decode_cursor, encode_cursor  # noqa: PLC0415 - the one test that makes a token

    cursor = (await service.call("GET", "/v1/log")).json()["cursor"]
    foreign = encode_cursor("orders", decode_cursor("default", cursor))
    answer = await service.call("GET", f"/v1/stream?from={foreign}")
    expect(answer, Refusal(400, "invalid_cursor", "#/query/from"))
    assert "bus" in answer.json()["detail"]


async def test_a_time_with_a_space_for_its_plus(service: WatchedService) -> None:
    """``+`` in a query that a client did not escape arrives as a space, and is read as the plus it was."""
    for target in ("/v1/events?from=2026-01-31T12:00:00+01:00", "/v1/events?to=2026-01-31T12:00:00%2B01:00"):
        assert (await service.call("GET", target)).status == 200
