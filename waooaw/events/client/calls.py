"""Calls that are repeated while the service is away or busy, and whose answers are values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.errors import NotFoundError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from waooaw.events.client.patience import Patience
    from waooaw.events.client.transport import Query, Transport
    from waooaw.events.errors import WowEventError

    Value = TypeVar("Value")

JSON: Final[Mapping[str, str]] = {"Accept": "application/json"}
SENT_JSON: Final[Mapping[str, str]] = {"Accept": "application/json", "Content-Type": "application/json"}

_DONE: Final = frozenset({200, 201, 204})


@dataclass(frozen=True, slots=True)
class Calls:
    """What calls one service, with the patience that calls have."""

    transport: Transport
    patience: Patience

    async def get(self, path: str, decode: Callable[[bytes], Value], query: Query = ()) -> Value:
        """Return what a service has at a path."""
        return await self.send("GET", path, decode, query=query)

    async def send(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], Value],
        *,
        query: Query = (),
        body: bytes | None = None,
        key: str | None = None,
        wait_seconds: float = 0.0,
    ) -> Value:
        """Make a call until it is answered, and return what it says.

        ``key`` names the call, so that repeating it does nothing twice. The service may take ``wait_seconds`` longer.
        """
        headers = JSON if body is None else SENT_JSON
        if key is not None:
            headers = {**headers, "Idempotency-Key": key}

        async def attempt(seconds: float) -> Value:
            answer = await self.transport.call(
                method, path, query=query, body=body, headers=headers, seconds=seconds, waits=wait_seconds > 0
            )
            if answer.status not in _DONE:
                raise self.transport.error_of(answer)
            return self.transport.decoded(answer, decode)

        patience = self.patience
        if wait_seconds > 0:
            patience = replace(patience, seconds=patience.seconds + wait_seconds)
        return await patience.call(attempt)

    async def remove(self, path: str) -> None:
        """Remove what is at a path; raises `NotFoundError` where nothing is, unless a lost try can have removed it."""
        was_lost = False

        async def attempt(seconds: float) -> None:
            nonlocal was_lost
            try:
                answer = await self.transport.call("DELETE", path, headers=JSON, seconds=seconds)
                if answer.status not in _DONE:
                    raise self.transport.error_of(answer)
            except NotFoundError:
                if not was_lost:
                    raise
            except UnavailableError as error:
                was_lost = was_lost or is_unknown(error)
                raise

        await self.patience.call(attempt)


def is_unknown(error: WowEventError) -> bool:
    """Tell whether a call that failed so can have been carried out all the same."""
    return isinstance(error, UnavailableError) and error.outcome == "unknown"


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object."""
    return msgspec.json.decode(body, type=dict[str, Any])
