"""Binary mode of the CloudEvents HTTP protocol binding 1.0.2 (section 3.1): attributes in headers, data in the body."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from waooaw.events.attributes import is_attribute_name
from waooaw.events.errors import InvalidEventError, Violation
from waooaw.events.media_type import MediaType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waooaw.events.acceptance import Acceptance
    from waooaw.events.event import Entry

PREFIX: Final = "ce-"

# Section 3.1.3.2: all characters outside U+0021 to U+007E, the double quote and the percent sign are percent-encoded.
_UNENCODED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_ENCODED_BYTES: Final = re.compile(rb"%([0-9A-Fa-f]{2})")

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_binary(
    acceptance: Acceptance,
    headers: Iterable[tuple[str, str]],
    content_type: str | None,
    body: bytes,
    *,
    idempotency_key: str | None = None,
) -> Entry:
    """Read an event from headers and body; raises the `WowEventError` that says what is wrong with it."""
    members: dict[str, Any] = _read_attributes(headers)
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}
    if content_type is not None:
        if not content_type.isascii():
            raise _header_error("datacontenttype", "not_a_media_type", "Content-Type must be a media type (RFC 2046)")
        members["datacontenttype"] = content_type
        raw["datacontenttype"] = msgspec.Raw(msgspec.json.encode(content_type))
    if body:
        name, value, text = _read_data(acceptance, content_type, body)
        members[name] = value
        raw[name] = msgspec.Raw(text)
    return acceptance.members(members, msgspec.json.encode(raw), idempotency_key=idempotency_key)


def _read_attributes(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for header, value in headers:
        lowered = header.lower()
        if not lowered.startswith(PREFIX):
            continue
        name = lowered.removeprefix(PREFIX)
        if name in {"data", "datacontenttype"}:
            raise _header_error(name, "reserved_name", f"{header} is not a header of binary mode; see Content-Type")
        if not is_attribute_name(name):
            raise _header_error(name, "invalid_name", "attribute names are lower-case letters a-z and digits 0-9")
        if name in attributes:
            raise _header_error(name, "repeated_attribute", f"the header {header} is given twice")
        attributes[name] = _decode_value(name, value)
    return attributes


def _decode_value(name: str, value: str) -> str:
    """Undo double quotes, then percent-encoding (section 3.1.3.2)."""
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if value.isascii() and "%" not in value:
        return value
    encoded = value.encode("utf-8", "surrogateescape")
    try:
        return _ENCODED_BYTES.sub(lambda found: bytes([int(found[1], 16)]), encoded).decode()
    except UnicodeDecodeError:
        raise _header_error(name, "not_utf8", "the header is not percent-encoded UTF-8") from None


def _read_data(acceptance: Acceptance, content_type: str | None, body: bytes) -> tuple[str, object, bytes]:
    media_type = MediaType.parse(content_type) if content_type is not None else None
    if media_type is not None and media_type.is_json:
        value, text = acceptance.read_json(body)
        return "data", value, text
    if media_type is not None and media_type.is_text:
        try:
            decoded = body.decode()
        except UnicodeDecodeError:
            pass  # Text in another encoding keeps its bytes.
        else:
            return "data", decoded, msgspec.json.encode(decoded)
    encoded = b64encode(body).decode("ascii")
    return "data_base64", encoded, msgspec.json.encode(encoded)


def write_binary(text: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that carry an event, given its JSON."""
    members = _decode_members(text)
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    headers: dict[str, str] = {}
    for name, raw in members.items():
        value = msgspec.json.decode(raw)
        spelled = str(value).lower() if isinstance(value, bool) else str(value)
        if name == "datacontenttype":
            headers["Content-Type"] = spelled
        else:
            headers[PREFIX + name] = quote(spelled, safe=_UNENCODED)
    if encoded is not None:
        return headers, b64decode(msgspec.json.decode(encoded))
    if data is None:
        return headers, b""
    return headers, _write_data(headers, bytes(data))


def _write_data(headers: dict[str, str], data: bytes) -> bytes:
    content_type = headers.setdefault("Content-Type", "application/json")
    if data.startswith(b'"') and not MediaType.parse(content_type).is_json:
        return msgspec.json.decode(data, type=str).encode()
    return data


def _header_error(name: str, code: str, detail: str) -> InvalidEventError:
    return InvalidEventError(detail, errors=(Violation(f"#/{name[:64]}", detail, code),))
