"""What is sent to a receiver: events, spelled as its subscription wants them, with an id that outlives failures.

The modes are those of the CloudEvents HTTP protocol binding 1.0.2: binary (section 3.1), structured (3.2) and batched
(3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from waooaw.events.http_binding import write_binary
from waooaw.events.position import format_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.event import StoredEvent
    from waooaw.events.push import PushDefinition

STRUCTURED_TYPE: Final = "application/cloudevents+json; charset=utf-8"
BATCH_TYPE: Final = "application/cloudevents-batch+json; charset=utf-8"

_ID_BYTES: Final = 16
"""Of the hash that names several events: as many as a random UUID has."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request's worth: ``headers`` are those that the events themselves make, the content type among them.

    ``id`` is the same whenever the same events of a subscription are sent.
    """

    id: str
    headers: dict[str, str]
    body: bytes


def message_of(push: PushDefinition, incarnation: str, events: Sequence[StoredEvent]) -> Message:
    """Return the message that carries events of a subscription; in other modes than batch it carries exactly one."""
    message_id = _message_id(incarnation, events)
    if push.mode == "batch":
        body = b"[%b]" % b",".join([stored.body for stored in events])
        return Message(message_id, {"Content-Type": BATCH_TYPE}, body)
    (stored,) = events
    if push.mode == "structured":
        return Message(message_id, {"Content-Type": STRUCTURED_TYPE}, stored.body)
    headers, body = write_binary(stored.body)
    return Message(message_id, headers, body)


def _message_id(incarnation: str, events: Sequence[StoredEvent]) -> str:
    if len(events) == 1:
        return f"{incarnation}.{format_position(events[0].position)}"
    positions = ",".join([format_position(stored.position) for stored in events])
    return f"{incarnation}.{blake2b(positions.encode('ascii'), digest_size=_ID_BYTES).hexdigest()}"
