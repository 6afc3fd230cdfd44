"""Errors that say *not now*: the same call can succeed later. They are part of the tree of `waooaw.events.errors`."""

from __future__ import annotations

from waooaw.events.errors import Violation, WowEventError


class UnavailableError(WowEventError):
    """The bus cannot do it now. ``outcome`` says of a publish whether the event can be in the log all the same."""

    code = "unavailable"
    status = 503
    title = "The bus is not available"
    retryable = True

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[Violation, ...] = (),
        retry_after_seconds: int | None = 1,
        outcome: str = "not_stored",
    ) -> None:
        super().__init__(detail, errors=errors, retry_after_seconds=retry_after_seconds)
        self.outcome = outcome


class OverloadedError(UnavailableError):
    """Too much waits already; what waits is bounded so that the bus stays up."""

    code = "overloaded"
    title = "The bus is overloaded"


class ScheduleFullError(UnavailableError):
    """As many events wait for their time as may; the log takes others."""

    code = "schedule_full"
    title = "Too many events are scheduled"


class StorageFullError(UnavailableError):
    """The disk is nearly full: publishes are refused so that reading still works."""

    code = "storage_full"
    title = "The storage is full"


class StorageFailedError(UnavailableError):
    """The storage answered a write with an error; nothing is accepted until the process starts anew."""

    code = "storage_failed"
    title = "The storage has failed"


class StorageRefusedError(UnavailableError):
    """The store refuses writes for now, and takes them again once its trouble is mended; no restart is needed."""

    code = "storage_refused"
    title = "The store refuses writes"


class EngineUnavailableError(UnavailableError):
    """The store behind the bus is away. What is read from memory is still answered; streams wait and go on."""

    code = "engine_unavailable"
    title = "The store is away"


class EngineLoadingError(EngineUnavailableError):
    """The store has started and is reading its data."""

    code = "engine_loading"
    title = "The store is loading its data"


class EngineReadOnlyError(EngineUnavailableError):
    """The node that was asked takes no writes: it is, or became, a replica."""

    code = "engine_read_only"
    title = "The node is a replica"


class EngineMasterDownError(EngineUnavailableError):
    """The node that was asked is a replica without its primary."""

    code = "engine_master_down"
    title = "The node has lost its primary"


class EngineBusyError(EngineUnavailableError):
    """The store is busy with one long command."""

    code = "engine_busy"
    title = "The store is busy"


class ClusterDownError(EngineUnavailableError):
    """The cluster serves no requests, or none for this bus's slot."""

    code = "cluster_down"
    title = "The cluster is down"


class ReshardingError(EngineUnavailableError):
    """The bus's slot is moving to another node."""

    code = "resharding"
    title = "The bus is moving to another node"


class NameResolutionError(EngineUnavailableError):
    """The name of the store's host could not be looked up: DNS failed, not the store."""

    code = "name_resolution_failed"
    title = "The store's name cannot be looked up"


class EngineDeniedError(EngineUnavailableError):
    """The store refused the credentials, or does not let the user run a command that the bus needs."""

    code = "engine_denied"
    title = "The store denies access"


class UnsafeEngineError(UnavailableError):
    """The store is set up so that it would lose events: publishes are refused, reading goes on."""

    code = "unsafe_engine"
    title = "The store would lose events"


class DurabilityUnavailableError(UnavailableError):
    """The durability that the bus promises is not to be had now: no replica confirmed in time."""

    code = "durability_unavailable"
    title = "The promised durability is not available"


class DrainingError(UnavailableError):
    """The process is shutting down."""

    code = "draining"
    title = "The service is shutting down"


class DisabledError(UnavailableError):
    """The bus is switched off by ``EVENT_BUS_ENABLED=false``."""

    code = "disabled"
    title = "The event bus is disabled"


class WriterUnknownError(UnavailableError):
    """The engine does not know the writer (any more); what was in flight may or may not be stored."""

    code = "writer_unknown"
    title = "The writer is not known"
