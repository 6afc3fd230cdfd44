"""Publishing over HTTP: in batches, repeated under the same ids until each event has its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.batch import cut_batches
from waooaw.events.client.problem import decode_json, error_of_members
from waooaw.events.errors import InvalidEventError, Violation, WowEventError
from waooaw.events.json_text import read_json
from waooaw.events.outages import UnavailableError
from waooaw.events.position import make_position, parse_position
from waooaw.events.receipt import Receipt, ScheduledReceipt
from waooaw.events.timestamp import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waooaw.events.client.patience import Patience
    from waooaw.events.client.transport import Answer, Transport
    from waooaw.events.identifier import Identifiers

ONE: Final = {"Content-Type": "application/cloudevents+json"}
LINES: Final = {"Content-Type": "application/x-ndjson"}

_OK: Final = 200
_RESULTS: Final = frozenset({200, 207, 422, 503})
"""Statuses of a batch's answer: all, some and none accepted, and the storage refusing."""

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Outcome = Receipt | WowEventError


def with_id(text: bytes, identifiers: Identifiers) -> bytes:
    """Return the event in JSON without white space, and with an ``id`` where it had none.

    Everything else stays as it was spelled. Raises `InvalidRequestError` kinds for what is no JSON object.
    """
    members, minified = read_json(text)
    if not isinstance(members, dict):
        message = "an event is a JSON object"
        raise InvalidEventError(message, errors=(Violation("#", "must be an object", "not_an_object"),))
    if members.get("id") is not None:
        return minified
    raw = _decode_members(minified)
    raw.pop("id", None)
    return msgspec.json.encode({"id": identifiers.new_event_id(), **raw})


class HttpPublisher:
    """Publishes to one service."""

    def __init__(self, transport: Transport, path: str, patience: Patience, identifiers: Identifiers) -> None:
        self._transport = transport
        self._path = path
        self._patience = patience
        self._identifiers = identifiers

    async def publish(self, text: bytes) -> Receipt:
        """Store one event in JSON; see Bus. One without ``id`` gets one, the same for every try."""
        text = with_id(text, self._identifiers)

        async def attempt(seconds: float) -> Receipt:
            answer = await self._transport.call("POST", self._path, body=text, headers=ONE, seconds=seconds)
            if answer.status != _OK:
                raise self._transport.error_of(answer)
            return self._transport.decoded(answer, _read_receipt)

        return await self._patience.call(attempt)

    async def publish_many(self, texts: Iterable[bytes]) -> list[Outcome]:
        """Store events in JSON, in order; return an answer for each. One without ``id`` gets one."""
        outcomes: list[Outcome] = []
        for batch in cut_batches(texts):
            outcomes += await self._publish_batch(batch)
        return outcomes

    async def _publish_batch(self, texts: Sequence[bytes]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        pending: dict[int, bytes] = {}
        for index, text in enumerate(texts):
            try:
                pending[index] = with_id(text, self._identifiers)
            except WowEventError as error:
                outcomes[index] = error
        trial = self._patience.begin()
        while pending:
            answers = await self._attempt(list(pending.values()), trial.seconds_left)
            outcomes |= dict(zip(pending, answers, strict=True))
            pending = {index: text for index, text in pending.items() if _retryable(outcomes[index]) is not None}
            reasons = [reason for index in pending if (reason := _retryable(outcomes[index])) is not None]
            if reasons and not await trial.wait_after(reasons[0]):
                break
        return [outcomes[index] for index in range(len(texts))]

    async def _attempt(self, texts: list[bytes], seconds: float) -> Sequence[Outcome]:
        body = b"\n".join(texts)
        try:
            answer = await self._transport.call("POST", self._path, body=body, headers=LINES, seconds=seconds)
            return self._outcomes(answer, len(texts))
        except WowEventError as error:
            return [error] * len(texts)

    def _outcomes(self, answer: Answer, count: int) -> list[Outcome]:
        results = _results(answer)
        if results is None:
            raise self._transport.error_of(answer)
        if len(results) != count:
            message = f"{self._transport.url} answered {len(results)} results for {count} events"
            raise UnavailableError(message, retry_after_seconds=None, outcome="unknown")
        return [_receipt(item) if item.get("status") == "ok" else error_of_members(item) for item in results]


def _results(answer: Answer) -> list[dict[str, Any]] | None:
    if answer.status not in _RESULTS:
        return None
    try:
        members = decode_json(answer.body)
    except msgspec.DecodeError:
        return None
    results = members.get("results") if isinstance(members, dict) else None
    return results if isinstance(results, list) else None


def _retryable(outcome: Outcome) -> WowEventError | None:
    return outcome if isinstance(outcome, WowEventError) and outcome.retryable else None


def _read_receipt(body: bytes) -> Receipt:
    return _receipt(msgspec.json.decode(body, type=dict[str, Any]))


def _receipt(members: dict[str, Any]) -> Receipt:
    scheduled = members.get("scheduled")
    if scheduled is not None:
        due_ms = parse_timestamp(scheduled["deliverat"])
        return ScheduledReceipt(
            members["id"],
            make_position(due_ms),
            members["durability"],
            members.get("duplicate", False),
            schedule_id=scheduled["id"],
            due_ms=due_ms,
        )
    return Receipt(
        members["id"], parse_position(members["position"]), members["durability"], members.get("duplicate", False)
    )
