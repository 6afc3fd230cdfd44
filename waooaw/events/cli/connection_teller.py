"""Telling a person of a connection that breaks and comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waooaw.events.cli.commands import complain

if TYPE_CHECKING:
    from waooaw.events.stream_message import StreamStatus


@dataclass(slots=True)
class ConnectionTeller:
    """Tells of each change once; ``goes_on`` says where the command goes on."""

    url: str
    goes_on: str = "going on where the stream broke"
    is_lost: bool = False

    def tell(self, status: StreamStatus) -> None:
        """Take the state of the connection."""
        if status.problem is None:
            if self.is_lost:
                complain(f"connected to {self.url} again, {self.goes_on}")
            self.is_lost = False
        elif not self.is_lost:
            complain(f"{status.problem.detail}; trying again until Ctrl-C")
            self.is_lost = True
