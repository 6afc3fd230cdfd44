"""How a subscription is pushed: the receiver's URL, how events are spelled for it, and how fast it takes them.

Rule 1: what is secret is write-only. It is told as `MASK`; a definition that has `MASK` in its place keeps what was
there, as long as it goes to the same origin: nobody gets a secret sent to a place of his own choice.
Rule 2: a secret is never in an error, a log line or a ``repr``.
Rule 3: whether an address may be called at all is for `waooaw.events.webhook_address`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from waooaw.events.errors import InvalidParameterError, Violation
from waooaw.events.field_rules import Rule, WrongValueError, choice, escaped, number, whole

if TYPE_CHECKING:
    from waooaw.events.field_rules import Problems

PushMode = Literal["binary", "structured", "batch"]
Handshake = Literal["options", "none"]

MASK: Final = "***"
"""What is told instead of a secret."""

URL_LENGTH_MAX: Final = 2048
"""What common servers and proxies take at least in a request line."""

HEADERS_MAX: Final = 32
HEADER_BYTES_MAX: Final = 4096
"""Of one header's value, the authorization included: with all of ours a request stays below common limits of 16 KB."""

TIMEOUT_SECONDS: Final = (0.1, 120.0)
"""Of one request, from the dial to the end of the reply; longer work is to be answered 202, and done after that."""

CONCURRENCY: Final = (1, 1000)
"""Requests at a time, over all replicas."""

RATE: Final = (0.01, 100_000.0)
"""Requests a second, over all replicas; 0.01 is one in 100 seconds."""

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)
"""Standard Webhooks, "Signature scheme": between 24 and 64 bytes of chance, in base64 behind the prefix."""

SECRETS_MAX: Final = 2
"""The present one and the one before it, while receivers change over."""

RESERVED_HEADERS: Final = frozenset(
    (
        *("authorization", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        "webhook-request-origin",
    )
)
"""Headers that the request itself sets, besides those that begin with ``ce-`` and ``webhook-``."""

_URL: Final = re.compile(r"[!-~]+", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~\t]*[!-~])?|", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushDefinition:
    """Where and how a subscription's events are sent.

    ``headers``, ``authorization`` and ``secret`` are secret. ``secret`` has the present signing secret first and maybe
    the one before it: a delivery is signed by each. ``rate`` is requests a second; None for no limit of its own.
    """

    url: str
    mode: PushMode = "binary"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str | None = field(default=None, repr=False)
    secret: tuple[str, ...] = field(default=(), repr=False)
    handshake: Handshake = "options"
    timeout_seconds: float = 30.0
    concurrency: int = 10
    rate: float | None = None

    def to_members(self) -> dict[str, Any]:
        """Return it as the wire spells it, secrets and defaults included."""
        return {
            "url": self.url,
            "mode": self.mode,
            "headers": dict(self.headers),
            "authorization": self.authorization,
            "secret": list(self.secret) or None,
            "handshake": self.handshake,
            "timeout_seconds": self.timeout_seconds,
            "concurrency": self.concurrency,
            "rate": self.rate,
        }

    def masked(self) -> PushDefinition:
        """Return it as people may see it."""
        return replace(
            self,
            headers=dict.fromkeys(self.headers, MASK),
            authorization=None if self.authorization is None else MASK,
            secret=(MASK,) * len(self.secret),
        )

    @property
    def origin(self) -> tuple[str, str]:
        """The scheme, and the host with its port: to whom secrets are told."""
        parts = urlsplit(self.url)
        return parts.scheme.lower(), parts.netloc.lower()


def with_kept_secrets(definition: PushDefinition, before: PushDefinition | None) -> PushDefinition:
    """Return a definition with what was set before in each place that has `MASK`; raises `InvalidParameterError`."""
    problems: list[Violation] = []
    is_same = before is not None and before.origin == definition.origin

    def keep(place: str, value: str, old: str | None) -> str:
        if value != MASK:
            return value
        if old is None or not is_same:
            why = "there is none to keep" if old is None else "the URL has another origin, which was not told it"
            detail = f"is {MASK}, which keeps what was set: {why}; set it anew"
            problems.append(Violation(f"#/push/{place}", detail, InvalidParameterError.code))
            return value
        return old

    headers = {} if before is None else {name.lower(): value for name, value in before.headers.items()}
    secrets = iter(() if before is None else before.secret)  # each mask keeps the next: a new one may stand before it
    kept = replace(
        definition,
        headers={
            name: keep(f"headers/{escaped(name)}", value, headers.get(name.lower()))
            for name, value in definition.headers.items()
        },
        authorization=None
        if definition.authorization is None
        else keep("authorization", definition.authorization, None if before is None else before.authorization),
        secret=tuple(
            [
                keep(f"secret/{index}", value, next(secrets, None) if value == MASK else None)
                for index, value in enumerate(definition.secret)
            ]
        ),
    )
    if problems:
        detail = "; ".join(f"{violation.pointer[2:]} {violation.detail}" for violation in problems)
        raise InvalidParameterError(detail, errors=tuple(problems))
    return kept


def read_push(problems: Problems, pointer: str, members: object) -> PushDefinition | None:
    """Read ``push`` of a definition, null for none; notes all that is wrong, and returns None then too."""
    if members is None:
        return None
    fields = problems.read(pointer, members, _FIELDS)
    if isinstance(members, Mapping) and "url" not in members:
        problems.add(InvalidParameterError, f"{pointer}/url", "is required")
    return PushDefinition(**fields) if "url" in fields else None


def secret_bytes(secret: str) -> bytes:
    """Return the key of a signing secret; raises ValueError for what is none."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(secret[: len(SECRET_PREFIX)])
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except NotBase64Error as error:
        raise ValueError("not base64") from error
    if not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        raise ValueError(len(key))
    return key


def _url(value: object) -> str:
    if not isinstance(value, str) or len(value) > URL_LENGTH_MAX or _URL.fullmatch(value) is None:
        raise WrongValueError(f"must be an absolute URL of printable ASCII, at most {URL_LENGTH_MAX} characters")
    try:
        parts: SplitResult | None = urlsplit(value)
    except ValueError:
        parts = None
    if parts is None or not parts.scheme:
        raise WrongValueError("must be an absolute URL, such as https://agent.example.com/events")
    return value


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > HEADERS_MAX:
        raise WrongValueError(f"must be an object with at most {HEADERS_MAX} headers")
    names: set[str] = set()
    for name, text in value.items():
        if not isinstance(name, str) or _HEADER_NAME.fullmatch(name) is None:
            raise WrongValueError(f"has {str(name)[:64]!r}, which is no name of a header")
        lowered = name.lower()
        if lowered in RESERVED_HEADERS or lowered.startswith(("ce-", "webhook-")):
            raise WrongValueError(f"has {name!r}, which the request itself sets")
        if lowered in names:
            raise WrongValueError(f"has {name!r} twice")
        names.add(lowered)
        if not _is_header_value(text):
            raise WrongValueError(f"has a value of {name!r} that is not printable ASCII of at most 4,096 characters")
    return dict(value)


def _authorization(value: object) -> str | None:
    if value is None:
        return None
    if not _is_header_value(value) or not value:
        raise WrongValueError("must be the value of an Authorization header, such as Bearer abc, or null")
    return str(value)


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and len(value) <= HEADER_BYTES_MAX and _HEADER_VALUE.fullmatch(value) is not None


def _secrets(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    secrets = [value] if isinstance(value, str) else value
    if not isinstance(secrets, list | tuple) or not 1 <= len(secrets) <= SECRETS_MAX:
        raise WrongValueError("must be one secret, a list of the present one and the one before it, or null")
    for secret in secrets:
        if secret == MASK:
            continue
        try:
            secret_bytes(secret)
        except (ValueError, AttributeError):
            raise WrongValueError(
                f"must be {SECRET_PREFIX} followed by {SECRET_BYTES[0]} to {SECRET_BYTES[1]} bytes in base64"
            ) from None
    return tuple(secrets)


_FIELDS: Final[Mapping[str, Rule]] = {
    "url": _url,
    "mode": choice("binary", "structured", "batch"),
    "headers": _headers,
    "authorization": _authorization,
    "secret": _secrets,
    "handshake": choice("options", "none"),
    "timeout_seconds": number(*TIMEOUT_SECONDS),
    "concurrency": whole(*CONCURRENCY),
    "rate": number(*RATE, optional=True),
}
