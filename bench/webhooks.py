"""(h) Deliveries by webhook to one fast receiver, against aiohttp's bare client and a forwarder on JetStream."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from bench.nats_server import running_nats
from bench.webhook_report import Forwarder, measured
from bench.webhook_rounds import ALLOWED, running_receiver

if TYPE_CHECKING:
    from bench.report import Context, Report

LETTER: Final = "h"
TITLE: Final = "webhooks to one fast receiver"


def run(context: Context) -> Report:
    """Measure all; the service and the peers on one core, receiver and nats-server on the other."""
    launcher = dataclasses.replace(context.launcher, environment={**context.launcher.environment, **ALLOWED})
    with (
        running_receiver(context) as receiver,
        running_nats(context, context.cores.load) as nats,
        launcher.service() as bus,
    ):
        forwarder = Forwarder(
            name="nats-py, JetStream",
            module="bench.nats_forward",
            store=nats,
            note="nats-py, JetStream: a durable pull consumer, 200 a fetch, each posted with aiohttp and then acked;"
            " stream in files",
        )
        return measured(context, letter=LETTER, title=TITLE, bus=bus, receiver=receiver, forwarder=forwarder)
