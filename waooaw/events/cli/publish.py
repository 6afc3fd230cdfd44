"""``wowevent publish``: one event by its parts, or many as lines."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from waooaw.events.cli.commands import EXIT_AWAY, EXIT_OK, EXIT_REFUSED
from waooaw.events.cli.service_address import PUBLISHING_PATIENCE_SECONDS, bus_option, reached, url_option
from waooaw.events.cli.time_parameter import TimeParameter
from waooaw.events.delivery_attributes import PRIORITY_LEVELS
from waooaw.events.errors import UnsupportedMediaTypeError, WowEventError
from waooaw.events.json_text import read_json
from waooaw.events.media_type import MediaType
from waooaw.events.position import format_position
from waooaw.events.receipt import ScheduledReceipt
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from waooaw.events.receipt import Receipt

RESERVED: Final = frozenset({"id", "source", "type", "subject", "data", "data_base64", "specversion"})
"""Members of an event that have an option of their own, or that nobody needs to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One event, as options give it."""

    source: str | None
    data: str | None
    id: str | None
    subject: str | None
    attributes: tuple[str, ...]
    priority: str | None
    partitionkey: str | None
    deliver_at_ms: int | None
    expires_ms: int | None

    @property
    def is_empty(self) -> bool:
        """Whether no option was given."""
        return not self.attributes and not self.named and self.data is None

    @property
    def named(self) -> dict[str, str]:
        """The attributes that have an option of their own."""
        times = {"deliverat": self.deliver_at_ms, "expirytime": self.expires_ms}
        texts = {name: getattr(self, name) for name in ("id", "source", "subject", "priority", "partitionkey")}
        texts |= {name: None if time_ms is None else format_timestamp(time_ms) for name, time_ms in times.items()}
        return {name: value for name, value in texts.items() if value is not None}


HELP: Final = """Publish an event of a TYPE, or many events as lines of JSON.

\b
  wowevent publish task.created --source /agents/me --data '{"task":1}'
  wowevent publish --file events.ndjson
  wowevent tail --json | WOWEVENT_URL=http://other:8080 wowevent publish

Without TYPE and --file, lines are read from standard input. A line without id gets one. Exits 0 where all are accepted,
1 where some are refused (each is told), 2 where called wrongly, 3 where the service is away.
"""


@click.command("publish", help=HELP)
@click.argument("event_type", metavar="[TYPE]", required=False)
@click.option("--source", metavar="URI", help="Who sends it, such as /agents/billing. Needed with TYPE.")
@click.option(
    "--data", metavar="JSON|@FILE|-", help="Its data: a JSON text, a file that holds it, or - for standard input."
)
@click.option("--id", "id", help="Its id: the same id and source again is no second event.")
@click.option("--subject", help="What it is about.")
@click.option("--priority", type=click.Choice(list(PRIORITY_LEVELS)), help="How urgent it is to subscriptions; normal.")
@click.option("--key", "partitionkey", metavar="KEY", help="Its partitionkey: subscriptions by key keep its order.")
@click.option(
    "--deliver-at",
    "deliver_at_ms",
    type=TimeParameter(is_ahead=True),
    metavar="TIME",
    help="Store it for later: a time, or 15m (from now); see scheduled.",
)
@click.option(
    "--expires-in",
    "expires_ms",
    type=TimeParameter(is_ahead=True),
    metavar="TIME",
    help="Subscriptions drop it after 15m, or at a time, unless it is dealt with.",
)
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="A further attribute; repeatable.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Publish many: a file with an event in JSON on each line, or - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="Write receipts as JSON, one a line.")
@bus_option
@url_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    event_type: str | None,
    file: Path | None,
    url: str,
    bus: str,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - options of several types, by the names of parts
) -> None:
    """Publish one event, or lines; see `HELP`."""
    parts = Parts(**options)
    if event_type is not None:
        if file is not None:
            raise click.UsageError("give a TYPE or a --file, not both")
        if parts.source is None:
            raise click.UsageError("an event needs a --source, such as --source /agents/me")
        receipt = asyncio.run(_publish(url, bus, event_of(event_type, parts)))
        sys.stdout.write(_receipt_line(receipt, as_json=as_json))
        return
    if not parts.is_empty:
        raise click.UsageError("the options of one event need its TYPE: wowevent publish TYPE --source URI …")
    if file is None and sys.stdin.isatty():
        raise click.UsageError("nothing to publish: give a TYPE, a --file, or lines on standard input")
    from waooaw.events.cli.publish_lines import publish_lines

    result = publish_lines(url, bus, None if file is None or str(file) == "-" else file, as_json=as_json)
    if result.is_away:
        context.exit(EXIT_AWAY)
    context.exit(EXIT_REFUSED if result.refused else EXIT_OK)


async def _publish(url: str, bus_name: str, text: bytes) -> Receipt:
    async with reached(url, bus_name, patience_seconds=PUBLISHING_PATIENCE_SECONDS) as bus:
        (answer,) = await bus.publish_texts([text])
    if isinstance(answer, WowEventError):
        raise answer
    return answer


def _receipt_line(receipt: Receipt, *, as_json: bool) -> str:
    if as_json:
        return f"{msgspec.json.encode(receipt.as_json()).decode()}\n"
    if isinstance(receipt, ScheduledReceipt):
        due = format_timestamp(receipt.due_ms)
        return f"{receipt.id} is stored until {due} ({receipt.durability}); cancel it by {receipt.schedule_id}\n"
    stored = "was stored before" if receipt.duplicate else "is stored"
    return f"{receipt.id} {stored} at {format_position(receipt.position)} ({receipt.durability})\n"


def event_of(event_type: str, parts: Parts) -> bytes:
    """Return an event in JSON; its data stays as it is spelled. Raises `click.UsageError` kinds."""
    members: dict[str, object] = {"specversion": "1.0", "type": event_type, **parts.named}
    for attribute in parts.attributes:
        name, separator, value = attribute.partition("=")
        if not separator or not name or name in RESERVED or name in parts.named:
            reason = "it reads NAME=VALUE" if not separator or not name else f"{name} has an option of its own"
            raise click.BadParameter(f"{attribute!r}: {reason}", param_hint="--attribute")
        members[name] = value
    if parts.data is not None:
        members |= _data_members(_given(parts.data), members.get("datacontenttype"))
    return msgspec.json.encode(members)


def _given(data: str) -> bytes:
    """Return what ``--data`` names."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{data[1:]}: {error.strerror}", param_hint="--data") from None


def _data_members(data: bytes, content_type: object) -> dict[str, object]:
    """Return the data as the CloudEvents JSON format has it (section 3.1): JSON, text, or bytes in Base64."""
    try:
        media_type = MediaType.parse(str(content_type)) if content_type is not None else None
    except UnsupportedMediaTypeError as error:
        raise click.BadParameter(error.detail, param_hint="--attribute datacontenttype") from None
    if media_type is None or media_type.is_json:
        try:
            return {"data": msgspec.Raw(read_json(data)[1])}
        except WowEventError as error:
            detail = f"not JSON: {error.detail}; a text is quoted twice, as in --data '\"text\"'"
            raise click.BadParameter(detail, param_hint="--data") from None
    if media_type.is_text:
        try:
            return {"data": data.decode()}
        except UnicodeDecodeError:
            pass  # Text in another encoding keeps its bytes.
    return {"data_base64": data}
