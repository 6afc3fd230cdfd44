"""Every error the bus raises, as one tree with stable codes.

Rule 1: a foreign error (aiohttp, sqlite3, redis, msgspec) becomes one of these where it enters, and goes no further.
Rule 2: a code, once released, keeps its meaning and its HTTP status; clients branch on it.
Rule 3: ``retryable`` says whether the same call, unchanged, can succeed later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with an input, and where.

    ``pointer`` is a JSON pointer in URI fragment form (RFC 6901 section 6), such as ``#/data/amount``.
    """

    pointer: str
    detail: str
    code: str


class WowEventError(Exception):
    """The root of the tree. ``str(error)`` is a sentence for a person; ``code`` is for programs."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The bus failed"
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str, *, errors: tuple[Violation, ...] = (), retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_seconds = retry_after_seconds


# Bad input: the caller must change something -------------------------------------------------------------------------


class InvalidRequestError(WowEventError):
    """The request cannot be read, or breaks a rule of CloudEvents or of a parameter."""

    code = "invalid_request"
    status = 400
    title = "The request is not valid"


class MalformedJsonError(InvalidRequestError):
    """The bytes are not one JSON text in UTF-8 (RFC 8259)."""

    code = "malformed_json"
    title = "The body is not valid JSON"


class TooDeepError(InvalidRequestError):
    """JSON is nested deeper than the limit."""

    code = "too_deep"
    title = "The JSON is nested too deeply"


class NumberOutOfRangeError(InvalidRequestError):
    """A number does not fit in 64 bits (integers) or in a double (the rest)."""

    code = "number_out_of_range"
    title = "A number is out of range"


class InvalidEventError(InvalidRequestError):
    """An event breaks a rule of CloudEvents 1.0 or of the bus. ``errors`` names each attribute."""

    code = "invalid_event"
    title = "The event is not a valid CloudEvent"


class TypeUnsupportedError(InvalidEventError):
    """The ``type`` is legal in CloudEvents and outside what the bus routes by."""

    code = "type_unsupported"
    title = "The event type is not supported"


class InvalidPatternError(InvalidRequestError):
    """A pattern is outside the grammar or its limits."""

    code = "invalid_pattern"
    title = "The pattern is not valid"


class InvalidCursorError(InvalidRequestError):
    """A cursor is malformed, or belongs to another bus."""

    code = "invalid_cursor"
    title = "The cursor is not valid"


class InvalidParameterError(InvalidRequestError):
    """A query parameter or a field has a value outside its rule."""

    code = "invalid_parameter"
    title = "A parameter is not valid"


class UnknownParameterError(InvalidRequestError):
    """A query parameter or a field that this call does not know."""

    code = "unknown_parameter"
    title = "A parameter is not known"


class NotAvailableFieldError(InvalidRequestError):
    """A field or parameter of the design that this release does not serve yet."""

    code = "not_available"
    title = "Not available in this release"


class StreamOpenError(InvalidRequestError):
    """A socket has a stream already; one stream a socket."""

    code = "stream_open"
    title = "This socket has a stream already"


class ForbiddenOriginError(WowEventError):
    """A browser page of a foreign origin asked."""

    code = "forbidden_origin"
    status = 403
    title = "The origin is not allowed"


class NotFoundError(WowEventError):
    """Nothing is there."""

    code = "not_found"
    status = 404
    title = "Not found"


class NotAvailableError(NotFoundError):
    """A route of the design that this release does not serve yet."""

    code = "not_available"
    title = "Not available in this release"


class MethodNotAllowedError(WowEventError):
    """The route exists and does not know the method."""

    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"


class NotAcceptableError(WowEventError):
    """No representation that the ``Accept`` header names."""

    code = "not_acceptable"
    status = 406
    title = "Not acceptable"


class RequestTimeoutError(WowEventError):
    """Headers or body did not arrive in time."""

    code = "request_timeout"
    status = 408
    title = "The request took too long to arrive"
    retryable = True


class ConflictError(WowEventError):
    """The call does not fit what is there."""

    code = "conflict"
    status = 409
    title = "The call does not fit the present state"


class SubscriptionExistsError(ConflictError):
    """A start was given for a subscription that exists; ``seek`` moves one."""

    code = "subscription_exists"
    title = "The subscription exists already"


class OrderingFixedError(ConflictError):
    """The ordering of a subscription cannot change: what waits was queued by the old one."""

    code = "ordering_fixed"
    title = "The ordering of a subscription cannot change"


class ConfirmationRequiredError(ConflictError):
    """The call destroys something, and has to be confirmed with the token that this error carries."""

    code = "confirmation_required"
    title = "Confirm what is to be destroyed"

    def __init__(self, detail: str, *, count: int, confirm: str) -> None:
        super().__init__(detail)
        self.count = count
        self.confirm = confirm


class StaleTokenError(ConflictError):
    """A delivery was settled before, or its lease ended and it went on to somebody else; nothing was changed."""

    code = "stale_token"
    title = "The delivery is no longer yours"


class NoPushError(ConflictError):
    """The call is about the webhook of a subscription that has none."""

    code = "no_push"
    title = "The subscription is not pushed"


class PushUnverifiedError(ConflictError):
    """The receiver has not consented to deliveries (yet), and gets none."""

    code = "push_unverified"
    title = "The receiver has not consented"


class TooManySubscriptionsError(ConflictError):
    """The bus has as many subscriptions as it may have."""

    code = "too_many_subscriptions"
    title = "The bus has too many subscriptions"


class IdReusedError(WowEventError):
    """The same ``source`` and ``id`` came before with other content."""

    code = "id_reused"
    status = 409
    title = "The id was used for another event"


class TrimmedError(WowEventError):
    """The position was in the log and has been removed by retention."""

    code = "trimmed"
    status = 410
    title = "The event has been removed by retention"


class TooLargeError(WowEventError):
    """A body, an event or a batch is over its limit."""

    code = "too_large"
    status = 413
    title = "Too large"


class EventTooLargeError(TooLargeError):
    """One event is over the size limit."""

    code = "event_too_large"
    title = "The event is too large"


class BatchTooLargeError(TooLargeError):
    """A batch has more events than the limit."""

    code = "batch_too_large"
    title = "The batch has too many events"


class UnsupportedMediaTypeError(WowEventError):
    """The content type or the content encoding is none that the bus reads."""

    code = "unsupported_media_type"
    status = 415
    title = "The content type is not supported"


class AddressRefusedError(WowEventError):
    """A webhook's URL goes where the bus does not call: by its form, its port or the addresses of its host."""

    code = "address_refused"
    status = 422
    title = "The address is not called"


class HeadersTooLargeError(WowEventError):
    """More or longer header lines than the limits."""

    code = "headers_too_large"
    status = 431
    title = "The request headers are too large"


# Appends: a writer and its engine disagree ----------------------------------------------------------------------------


class SupersededError(WowEventError):
    """An append came with an older sequence than the writer's last one."""

    code = "superseded"
    status = 409
    title = "A later append of this writer is stored"


class RoutesChangedError(WowEventError):
    """An append was matched against an older set of routes; match again with ``routes_version``."""

    code = "routes_changed"
    status = 409
    title = "The routes have changed"
    retryable = True

    def __init__(self, detail: str, *, routes_version: str) -> None:
        super().__init__(detail)
        self.routes_version = routes_version


# Start-up: the process cannot begin -----------------------------------------------------------------------------------


class StartupError(WowEventError):
    """The service cannot start; the sentence says what to do."""

    code = "startup_failed"
    title = "The service cannot start"


class InvalidSettingError(StartupError):
    """A setting has a value outside its rule."""

    code = "invalid_setting"
    title = "A setting is not valid"


class StorageInUseError(StartupError):
    """Another process has the store open."""

    code = "storage_in_use"
    title = "The store is in use by another process"


class StorageFormatError(StartupError):
    """The file is not a store, or of a format that this release does not know."""

    code = "storage_format"
    title = "The store has an unknown format"


class StorageCorruptError(StartupError):
    """The file failed its integrity check."""

    code = "storage_corrupt"
    title = "The store is damaged"


class EngineUnreachableError(StartupError):
    """The store did not answer in the time that a start has."""

    code = "engine_unreachable"
    title = "The store cannot be reached"


class EngineUnsuitableError(StartupError):
    """The store is too old, or set up so that it would lose events, or cannot keep the durability asked for."""

    code = "engine_unsuitable"
    title = "The store is not suitable"


class ClosedError(WowEventError):
    """The object was closed before the call, or while it waited."""

    code = "closed"
    status = 503
    title = "The bus is closed"
