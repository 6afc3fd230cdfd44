"""The composition root: settings in, a service out. The one place of the service that names an engine."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from waooaw.events.acceptance import AcceptanceLimits
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.queue_upkeep import DeadLetterLimits
from waooaw.events.clock import SystemClock
from waooaw.events.engine import engine_for
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.sqlite import SqliteOptions
from waooaw.events.errors import InvalidSettingError
from waooaw.events.identifier import RandomIdentifiers, new_chance
from waooaw.events.retention import RetentionLimits
from waooaw.events.service import sse, websocket
from waooaw.events.service.answering import answer, finish_headers
from waooaw.events.service.context import CONTEXT, Context
from waooaw.events.service.framings import CloudEventsFraming, SseFraming, WebSocketFraming
from waooaw.events.service.open_streams import OpenStreams
from waooaw.events.service.routes import ROUTES
from waooaw.events.settings import durability_levels
from waooaw.events.webhook_address import AllowedNetworks
from waooaw.events.webhooks.dialing import Dialer
from waooaw.events.webhooks.sending import Sender
from waooaw.events.webhooks.surroundings import Surroundings
from waooaw.events.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.epoch import Epoch
    from waooaw.events.settings import Settings

STORE_FILE = "wowevent.db"


def build_engine(settings: Settings, clock: Clock) -> Engine:
    """Return the engine that the settings ask for."""
    return _redis_engine(settings, clock) if settings.redis_url else _sqlite_engine(settings, clock)


def _sqlite_engine(settings: Settings, clock: Clock) -> Engine:
    options = SqliteOptions(
        deduplication=_deduplication(settings),
        reserve_bytes=settings.storage_reserve_bytes,
        integrity_check_seconds=settings.integrity_check_seconds,
    )
    return engine_for(
        f"sqlite:///{_store_file(settings)}",
        settings.buses,
        clock=clock,
        identifiers=RandomIdentifiers(),
        sqlite=options,
    )


def _store_file(settings: Settings) -> Path:
    return settings.data_directory.absolute() / STORE_FILE


def _redis_engine(settings: Settings, clock: Clock) -> Engine:
    from waooaw.events.engine.redis import RedisOptions, TlsFiles  # noqa: PLC0415 - only the engine in use loads

    options = RedisOptions(
        username=settings.redis_username or None,
        password=settings.redis_password or None,
        sentinel_username=settings.redis_sentinel_username or None,
        sentinel_password=settings.redis_sentinel_password or None,
        tls=TlsFiles(
            ca_file=settings.redis_tls_ca_file or None,
            certificate_file=settings.redis_tls_certificate_file or None,
            key_file=settings.redis_tls_key_file or None,
        ),
        start_seconds=settings.redis_start_seconds,
        durability=durability_levels(settings),
        deduplication=_deduplication(settings),
    )
    return engine_for(settings.redis_url, settings.buses, clock=clock, identifiers=RandomIdentifiers(), redis=options)


def _deduplication(settings: Settings) -> DeduplicationWindow:
    return DeduplicationWindow(settings.deduplication_seconds, settings.deduplication_ids)


def bus_options(settings: Settings) -> BusOptions:
    """Return the options of each bus; memory that is bounded for the whole service is shared in equal parts."""
    share = len(settings.buses)
    return BusOptions(
        acceptance=AcceptanceLimits(
            event_bytes_max=settings.event_bytes_max,
            batch_events_max=settings.batch_events_max,
            depth_max=settings.json_depth_max,
        ),
        retention=RetentionLimits(
            max_age_seconds=settings.retention_age_seconds,
            max_events=settings.retention_events,
            max_bytes=settings.retention_bytes,
        ),
        waiting_bytes_max=settings.waiting_bytes_max // share,
        publish_wait_seconds=settings.publish_wait_seconds,
        ring_bytes_max=settings.ring_bytes_max // share,
        subscriptions_max=settings.subscriptions_max,
        dead_letters=DeadLetterLimits(seconds=settings.dead_letter_seconds, count_max=settings.dead_letters_max),
        scheduled_events_max=settings.scheduled_events_max,
        max_hold_seconds=settings.max_hold_seconds,
    )


async def begin_epochs(settings: Settings, names: Sequence[str]) -> dict[str, Epoch]:
    """Begin an epoch of each of some buses in the store of the settings; return them by bus.

    Raises `InvalidSettingError` for a bus that is not in the settings and a store that is not there, and what
    `Engine.open` raises.
    """
    for name in names:
        if name not in settings.buses:
            message = f"{name[:64]!r} is no bus of WOWEVENT_BUSES, which are {', '.join(settings.buses)}"
            raise InvalidSettingError(message)
    if not settings.redis_url and not _store_file(settings).exists():
        message = (
            f"there is no store at {_store_file(settings)}; say where it is by WOWEVENT_DATA_DIRECTORY or REDIS_URL"
        )
        raise InvalidSettingError(message)
    engine = build_engine(settings, SystemClock())
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        for name in names:
            await engine.begin_epoch(name)
        return {name: engine.state(name).history.current for name in names}


async def open_context(settings: Settings, stack: AsyncExitStack) -> Context:
    """Open the engine and the buses; the stack closes them again."""
    clock, random = SystemClock(), new_chance()
    streams = OpenStreams(
        random, ping_seconds=settings.stream_ping_seconds, age_seconds=settings.connection_age_seconds
    )
    engine = None
    buses: dict[str, EventBus] = {}
    if settings.event_bus_enabled:
        engine = build_engine(settings, clock)
        await engine.open(stack)
        options = bus_options(settings)
        for name in settings.buses:
            bus = EventBus(engine, name, clock=clock, identifiers=RandomIdentifiers(), options=options)
            buses[name] = await stack.enter_async_context(bus)
    context = Context(settings, clock, random, streams, engine=engine, buses=buses)
    if engine is not None:
        context.replica_id = RandomIdentifiers().new_token()
        context.webhooks = await _open_webhooks(context, engine, stack)
    return context


async def _open_webhooks(context: Context, engine: Engine, stack: AsyncExitStack) -> dict[str, Webhooks]:
    """Begin to call receivers. The connections are shared by the buses; what is known of a receiver is its bus's."""
    settings, clock = context.settings, context.clock
    dialer = Dialer(AllowedNetworks.parse(settings.webhook_allowed_networks))
    await dialer.open(stack)
    sender = Sender(dialer, origin=settings.webhook_origin, clock=clock)
    webhooks: dict[str, Webhooks] = {}
    for name, bus in context.buses.items():
        around = Surroundings(
            event_bus=bus,
            engine=engine,
            sender=sender,
            dialer=dialer,
            replica=context.replica_id,
            origin=settings.webhook_origin,
            clock=clock,
            identifiers=RandomIdentifiers(),
            metrics=context.webhook_metrics,
        )
        webhooks[name] = Webhooks(around)
        webhooks[name].open(stack)
    return webhooks


def build_app(context: Context) -> web.Application:
    """Return the application over a context."""
    # The limit here guards reads that forget `read_body`, which has the real one.
    app = web.Application(middlewares=[answer], client_max_size=context.settings.body_bytes_max)
    app[CONTEXT] = context
    app[sse.FRAMINGS] = {
        bus: {chunked: SseFraming(bus, chunked=chunked) for chunked in (True, False)} for bus in context.buses
    }
    app[websocket.FRAMINGS] = {bus: (WebSocketFraming(bus), CloudEventsFraming(bus)) for bus in context.buses}
    app.on_response_prepare.append(finish_headers)
    for route in ROUTES:
        for method in route.methods:
            app.router.add_route(method, route.path, route.handler, name=route.name)
    return app
