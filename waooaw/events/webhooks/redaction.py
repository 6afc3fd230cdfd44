"""What a receiver says is shown to people; what it was shown is not: a server that echoes its request tells no secret.

Rule: each secret that a request carries, as it was sent, is `MASK` in what is kept of the answer. Spelled otherwise, as
in base64, it is not found: that is the receiver's own doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waooaw.events.push import MASK

if TYPE_CHECKING:
    from waooaw.events.push import PushDefinition

SECRET_LENGTH_MIN: Final = 8
"""Of a header's value that is looked for: shorter ones, such as ``1`` or ``eu``, stand in many answers by chance."""


class Redaction:
    """Of the secrets of one definition."""

    __slots__ = ("_secrets", "length_max")

    def __init__(self, push: PushDefinition) -> None:
        found = [*push.headers.values(), *push.secret]
        if push.authorization is not None:
            found += (push.authorization, push.authorization.partition(" ")[2])
        secrets = {secret for secret in found if len(secret) >= SECRET_LENGTH_MIN}
        self._secrets = tuple(sorted((secret.encode() for secret in secrets), key=len, reverse=True))
        self.length_max = max(map(len, self._secrets), default=0)
        """So much more of an answer has to be looked at than is kept: a secret may begin at its end."""

    def of(self, answer: bytes) -> bytes:
        """Return an answer without the secrets."""
        for secret in self._secrets:
            if secret in answer:
                answer = answer.replace(secret, MASK.encode())
        return answer

    def of_text(self, text: str | None) -> str | None:
        """Return a header's value without the secrets."""
        return None if text is None else self.of(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
