"""(h) Deliveries by webhook to one fast receiver, against aiohttp's bare client and a forwarder on FastStream."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from bench.redis.redis_server import running_redis
from bench.webhook_report import Forwarder, measured
from bench.webhook_rounds import ALLOWED, running_receiver

if TYPE_CHECKING:
    from bench.report import Context, Report

LETTER: Final = "h"
TITLE: Final = "on Redis: webhooks to one fast receiver"


def run(context: Context) -> Report:
    """Measure all; the service and the peers on one core, receiver and Redis on the other."""
    with running_receiver(context) as receiver, running_redis(context) as store:
        launcher = store.launcher(context)
        launcher = dataclasses.replace(launcher, environment={**launcher.environment, **ALLOWED})
        with launcher.service() as bus:
            forwarder = Forwarder(
                name="FastStream, Redis group",
                module="bench.redis.faststream_forward",
                store=store.server,
                note="FastStream, Redis group: 64 workers, each event decoded, posted with aiohttp and acked;"
                " Redis with appendfsync everysec",
            )
            return measured(context, letter=LETTER, title=TITLE, bus=bus, receiver=receiver, forwarder=forwarder)
