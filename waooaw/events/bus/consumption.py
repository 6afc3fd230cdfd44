"""One member that is connected: its credit, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.delivery import Settlement
    from waooaw.events.errors import WowEventError


class Consumption:
    """A member at work, made by `Deliveries.consume`. Close it in the end."""

    member: str

    @property
    def credit(self) -> int:
        """Deliveries that may be unsettled."""
        raise NotImplementedError

    @property
    def held(self) -> int:
        """Deliveries that are unsettled."""
        raise NotImplementedError

    def set_credit(self, credit: int) -> None:
        """Change how many deliveries may be unsettled; 0 stops. What is held stays."""
        raise NotImplementedError

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """Settle deliveries; as `Deliveries.settle`. The credit of what is settled, or was stale, comes back."""
        raise NotImplementedError

    async def close(self) -> None:
        """End, and give back what is held. Closing twice is harmless."""
        raise NotImplementedError
