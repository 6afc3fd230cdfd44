"""JSON of our own shapes as clients send it, read by a typed decoder; what is wrong is told with its place.

Rule: the decoder decides, and only where it refuses does anybody look at the text a second time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import msgspec.inspect

from waooaw.events.errors import (
    InvalidParameterError,
    MalformedJsonError,
    UnknownParameterError,
    UnsupportedMediaTypeError,
    Violation,
    WowEventError,
)
from waooaw.events.json_text import read_json
from waooaw.events.media_type import MediaType
from waooaw.events.service.allowed_values import allowed, find_type, known_members
from waooaw.events.service.representations import JSON
from waooaw.events.service.request_body import read_body

if TYPE_CHECKING:
    from aiohttp import web

    from waooaw.events.service.context import Context

Value = TypeVar("Value")

_PLACE: Final = re.compile(r" - at `(?P<path>[^`]*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_STEP: Final = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]")
"""How msgspec spells where it stopped: ``$.outcomes[3].token``."""


def decode_typed(decoder: msgspec.json.Decoder[Value], text: bytes | msgspec.Raw, *, pointer: str = "#") -> Value:
    """Return what a text says; raises `InvalidRequestError` kinds with a pointer that begins with ``pointer``."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _error(str(error), pointer, decoder) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        read_json(bytes(text))  # tells what it is: too deep, out of range, not UTF-8
        message = f"the body is not valid JSON: {str(error)[:200]}"
        raise MalformedJsonError(message) from None


def _error(detail: str, pointer: str, decoder: msgspec.json.Decoder[Any]) -> WowEventError:
    place = _PLACE.search(detail)
    rule = detail[: place.start()] if place is not None else detail
    found = _STEP.finditer(place["path"] if place is not None else "")
    steps = [step["name"] or int(step["index"]) for step in found]
    kind = find_type(msgspec.inspect.type_info(decoder.type), steps)
    pointer += "".join([f"/{step}" for step in steps])
    if (unknown := _UNKNOWN.match(rule)) is not None:
        name = unknown["name"][:64]
        known = ", ".join(known_members(kind))
        detail = f"unknown field {name!r}; " + (f"known here: {known}" if known else "this call takes none")
        return _violated(UnknownParameterError, _below(pointer, name), detail)
    if (missing := _MISSING.match(rule)) is not None:
        pointer = _below(pointer, missing["name"])
        return _violated(InvalidParameterError, pointer, f"{missing['name']} is required")
    return _violated(InvalidParameterError, pointer, _sentence(pointer, rule, allowed(kind)))


def _sentence(pointer: str, rule: str, wanted: str | None) -> str:
    """Say what is wrong with the value at a pointer: by its name, an item of a list by that of the list."""
    *_, above, last = ["", *pointer.removeprefix("#").split("/")]
    what = (f"{above}[{last}]" if last.isdecimal() else last) or "the body"
    return f"{what} must be {wanted}" if wanted is not None else f"{what}: {rule[:200]}".replace("`", "")


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _violated(kind: type[WowEventError], pointer: str, detail: str) -> WowEventError:
    return kind(detail, errors=(Violation(pointer, detail, kind.code),))


async def read_json_body(request: web.Request, context: Context) -> bytes:
    """Return a body that says it is JSON, or says nothing; raises `UnsupportedMediaTypeError` for another one."""
    content_type = request.headers.get("Content-Type")
    if content_type is not None and MediaType.parse(content_type).essence != JSON:
        message = f"{content_type[:64]!r} is not read here; send {JSON}"
        raise UnsupportedMediaTypeError(message)
    return await read_body(request, context)
