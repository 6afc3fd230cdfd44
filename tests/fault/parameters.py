"""How long and how hard the runs are: short in the suite, long under ``make fault``, each to be set by its variable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

LONG: Final = "long"
MODE_VARIABLE: Final = "FAULT"
SEED_VARIABLE: Final = "FAULT_SEED"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a run and the environment variable that sets it."""

    variable: str
    short: float
    long: float
    meaning: str

    @property
    def value(self) -> float:
        """The number for this run."""
        text = os.environ.get(self.variable)
        if text:
            return float(text)
        return self.long if is_long() else self.short

    @property
    def count(self) -> int:
        """The number, where it counts things."""
        return int(self.value)


def is_long() -> bool:
    """Tell whether this is ``make fault``."""
    return os.environ.get(MODE_VARIABLE) == LONG


ROUNDS: Final = Parameter("FAULT_ROUNDS", 10, 100, "kills of the service under load")
ROUND_EVENTS: Final = Parameter("FAULT_ROUND_EVENTS", 500, 500, "events accepted before each kill")
JOINS: Final = Parameter("FAULT_JOINS", 100, 1000, "joins of history to live")
JOIN_RATE: Final = Parameter("FAULT_JOIN_RATE", 1000, 1500, "events a second published meanwhile")
READERS: Final = Parameter("FAULT_READERS", 100, 500, "readers, the stuck ones among them")
STUCK: Final = Parameter("FAULT_STUCK", 10, 50, "readers that never read")
READER_RATE: Final = Parameter("FAULT_READER_RATE", 200, 500, "events a second published to the readers")
READER_SECONDS: Final = Parameter("FAULT_READER_SECONDS", 2, 10, "seconds of each phase, with and without the stuck")
READER_PHASES: Final = Parameter("FAULT_READER_PHASES", 1, 4, "times that both phases are measured, in turns")
READER_BYTES: Final = Parameter("FAULT_READER_BYTES", 6000, 1000, "bytes of data of each of these events")
DISK_MIB: Final = Parameter("FAULT_DISK_MIB", 24, 64, "size of the disk that is filled")

REDIS_KILLS: Final = Parameter("FAULT_REDIS_KILLS", 3, 30, "kills of Redis under load")
LINK_CUTS: Final = Parameter("FAULT_LINK_CUTS", 10, 100, "cuts of links to Redis, of each kind")
STOP_SECONDS: Final = Parameter("FAULT_STOP_SECONDS", 2.5, 5, "seconds for which Redis is suspended")
SERVICE_KILLS: Final = Parameter("FAULT_SERVICE_KILLS", 3, 30, "kills of the service on Redis, in each mode")
FAILOVERS: Final = Parameter("FAULT_FAILOVERS", 1, 3, "primaries killed under load, in each mode")
CABLE_SECONDS: Final = Parameter("FAULT_CABLE_SECONDS", 4, 20, "seconds for which two hosts do not see each other")
SLOT_MIB: Final = Parameter("FAULT_SLOT_MIB", 8, 100, "size of the log whose slot is moved")
RESTARTS: Final = Parameter("FAULT_RESTARTS", 2, 20, "restarts of Redis, of each replica and of the pub/sub links")
RESTART_RATE: Final = Parameter("FAULT_RESTART_RATE", 4000, 20_000, "real events a second published meanwhile")

WORK_EVENTS: Final = Parameter("FAULT_WORK_EVENTS", 1200, 100_000, "events that each subscription works through")
WORK_RATE: Final = Parameter("FAULT_WORK_RATE", 400, 400, "events a second published to be worked through")
WORK_KILLS: Final = Parameter("FAULT_WORK_KILLS", 6, 300, "kills of processes of members, of replicas and of Redis")
WORK_PROCESSES: Final = Parameter("FAULT_WORK_PROCESSES", 2, 4, "processes with a member of each subscription")
RIVAL_PROCESSES: Final = Parameter("FAULT_RIVAL_PROCESSES", 4, 20, "processes that share 20 members of a subscription")
RIVAL_EVENTS: Final = Parameter("FAULT_RIVAL_EVENTS", 1600, 40_000, "events that 20 members compete for")
RIVAL_KILLS: Final = Parameter("FAULT_RIVAL_KILLS", 4, 100, "processes of these members killed")
POISON_EVENTS: Final = Parameter("FAULT_POISON_EVENTS", 1000, 10_000, "events of which one in ten is poison")
POISON_RATE: Final = Parameter("FAULT_POISON_RATE", 500, 1000, "of these a second")
POISON_ROUNDS: Final = Parameter("FAULT_POISON_ROUNDS", 1, 5, "parts of them, in turns with as many without poison")
CREDIT_EVENTS: Final = Parameter("FAULT_CREDIT_EVENTS", 50, 1000, "events that one member holds at a time")
CREDIT_LEASE_SECONDS: Final = Parameter("FAULT_CREDIT_LEASE", 1, 30, "the lease under which it holds them")
CREDIT_TAKEN: Final = Parameter("FAULT_CREDIT_TAKEN", 30, 180, "events that it takes, a slow one after the other")
CREDIT_PAUSE_SECONDS: Final = Parameter("FAULT_CREDIT_PAUSE", 0.1, 1, "seconds that each of them takes it")
MADE_SUBSCRIPTIONS: Final = Parameter("FAULT_MADE_SUBSCRIPTIONS", 100, 2000, "subscriptions made and deleted, 50 a s")

WEBHOOK_EVENTS: Final = Parameter("FAULT_WEBHOOK_EVENTS", 1000, 10_000, "real events sent to a receiver that fails")
WEBHOOK_RATE: Final = Parameter("FAULT_WEBHOOK_RATE", 250, 250, "of these a second")
WEBHOOK_KILLS: Final = Parameter("FAULT_WEBHOOK_KILLS", 1, 2, "kills of this receiver")
WEBHOOK_FAILING: Final = Parameter("FAULT_WEBHOOK_FAILING", 0.1, 0.1, "share of requests that it fails by chance")
SHARED_EVENTS: Final = Parameter("FAULT_SHARED_EVENTS", 500, 5000, "events sent by two replicas, one of them killed")
HOSTILE_EVENTS: Final = Parameter("FAULT_HOSTILE_EVENTS", 100, 1000, "events a round beside hostile receivers")
HOSTILE_ROUNDS: Final = Parameter("FAULT_HOSTILE_ROUNDS", 2, 5, "rounds with and without them, in turns")
