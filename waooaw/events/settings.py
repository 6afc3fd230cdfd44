"""Every setting of the service: one table that parsing, ``wowevent serve --help`` and the guide are made from.

A setting comes from its flag (``--data-directory``), else from its environment variable (``WOWEVENT_DATA_DIRECTORY``;
four have the plain names that platforms set), else it has its default. This module reads neither: it takes mappings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from waooaw.events.bus_names import DEFAULT_BUS, read_levels, wrong_with_buses
from waooaw.events.errors import InvalidSettingError
from waooaw.events.webhook_address import wrong_with_networks
from waooaw.events.webhook_origin import wrong_with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waooaw.events.receipt import Durability

PREFIX: Final = "WOWEVENT_"
PLAIN_NAMES: Final = frozenset({"port", "log_level", "event_bus_enabled", "redis_url"})
"""Settings whose variable has no prefix: platforms and images set these."""

CLIENT_VARIABLES: Final = frozenset({"WOWEVENT_PUSH_AUTHORIZATION", "WOWEVENT_PUSH_SECRET", "WOWEVENT_URL"})
"""Variables of ours that the service does not read."""

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting is for, and what it may be."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    check: Callable[[Any], str | None] | None = None
    """What is wrong with a value, as the end of a sentence, or None."""


def _setting(default: Any, help: str, **rule: Any) -> Any:  # noqa: A002, ANN401 - the table reads best so
    return field(default=default, metadata={"rule": Rule(help, **rule)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one service. The reasons for the limits stand beside their values."""

    host: str = _setting("127.0.0.1", "Address to listen on. Local by default: nothing asks for credentials yet.")
    port: int = _setting(8080, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    data_directory: Path = _setting(  # noqa: RUF009 - a field, and a path does not change
        Path("wowevent-data"), "Where the embedded engine keeps its store."
    )
    reuse_port: bool = _setting(
        default=False, help="true lets several services of this machine share the port; Linux spreads connections."
    )
    log_level: str = _setting("INFO", "Least level of the log lines written.", choices=LOG_LEVELS)
    event_bus_enabled: bool = _setting(
        default=True,
        help="false starts the service with the bus switched off: ready, and every call answers 503 disabled.",
    )
    allowed_origins: tuple[str, ...] = _setting(
        (), "Origins, separated by commas, whose pages may call the bus from a browser. Empty: only its own."
    )

    buses: tuple[str, ...] = _setting(
        (DEFAULT_BUS,),
        "Buses to serve, separated by commas, default among them. Each has a log of its own; on Redis Cluster they "
        "spread over the nodes.",
        check=wrong_with_buses,
    )
    redis_url: str = _setting(
        "",
        "Redis to run on: redis://host:6379/0, redis+sentinel://host:26379,host:26379/name, "
        "redis+cluster://host:6379,host:6379; rediss… for TLS. Empty: the embedded engine.",
        secret=True,
    )
    redis_username: str = _setting("", "User of Redis; beats the one in REDIS_URL.")
    redis_password: str = _setting(
        "", "Password of Redis; beats the one in REDIS_URL, and stays out of what prints URLs.", secret=True
    )
    redis_sentinel_username: str = _setting("", "User of the Sentinels, which have users of their own.")
    redis_sentinel_password: str = _setting("", "Password of the Sentinels.", secret=True)
    redis_tls_ca_file: str = _setting(
        "", "Certificates that the server's must be signed by, in PEM. Empty: those of the system."
    )
    redis_tls_certificate_file: str = _setting("", "Certificate of this client, in PEM, where Redis asks for one.")
    redis_tls_key_file: str = _setting("", "Its private key, in PEM.")
    redis_start_seconds: float = _setting(
        30.0, "How long a start waits for Redis before it ends: longer than Redis itself restarts.", minimum=0.1
    )
    durability: str = _setting(
        "local",
        "What an event on Redis survives before its receipt is written: local, fsync or replicated; one level for all "
        "buses, or default=local,orders=replicated. The embedded engine is always fsync.",
    )
    publish_wait_seconds: float = _setting(
        2.0, "How long an accepted publish waits for a store that is away, before it gets 503.", minimum=0, maximum=30
    )

    retention_age_seconds: int = _setting(
        7 * 86_400,
        "Events older than this go, on each bus. A week outlasts a long weekend without an operator.",
        minimum=1,
    )
    retention_events: int = _setting(
        10_000_000, "Events of each bus kept at most: some 5 GB of common ones.", minimum=1
    )
    retention_bytes: int = _setting(
        10_000_000_000, "Bytes of events of each bus kept at most; the file is about a third larger.", minimum=1
    )
    deduplication_seconds: int = _setting(
        300, "How long a repeated id is recognised: longer than clients retry.", minimum=1, maximum=86_400
    )
    deduplication_ids: int = _setting(
        1_000_000,
        "How many ids of each bus are recognised at most; a million takes about 150 MB, on Redis twice that.",
        minimum=1,
    )
    subscriptions_max: int = _setting(
        10_000,
        "Durable subscriptions of each bus. An event goes to 50,000 at most in one step.",
        minimum=1,
        maximum=50_000,
    )
    dead_letter_seconds: int = _setting(
        30 * 86_400, "Dead letters older than this are dropped. A month outlasts the next look at them.", minimum=1
    )
    dead_letters_max: int = _setting(
        100_000,
        "Dead letters of each subscription kept at most, the newest; each is a copy of its event.",
        minimum=1,
        maximum=10_000_000,
    )
    scheduled_events_max: int = _setting(
        1_000_000,
        "Events of each bus that wait for their deliverat; some 500 MB of common ones. Beyond it: 503 schedule_full.",
        minimum=1,
        maximum=100_000_000,
    )
    max_hold_seconds: float = _setting(
        3600.0,
        "How long the leases of a connected consumer are extended for it: the longest that one handler may take. "
        "Then they lapse.",
        minimum=1,
        maximum=86_400,
    )
    webhook_allowed_networks: tuple[str, ...] = _setting(
        (),
        "Networks inside, separated by commas, that webhooks may call, by http too: 10.20.0.0/16,fd00:7::/64. "
        "Empty: none, so that nobody reaches through this service what he could not call himself.",
        check=wrong_with_networks,
    )
    webhook_origin: str = _setting(
        "wowevent",
        "The name that receivers of webhooks are asked to allow, and that each request bears: one for all replicas.",
        check=wrong_with_origin,
    )
    storage_reserve_bytes: int = _setting(
        64 * MIB,
        "Publishes are refused below this much free space, so that reading and trimming still work.",
        minimum=0,
    )
    integrity_check_seconds: float = _setting(
        10.0, "How long the check of the store at the start may take; a store of some GB is checked in part.", minimum=0
    )

    event_bytes_max: int = _setting(
        256 * 1024,
        "Bytes of JSON of one event. What is larger belongs into a store, with its address in the event.",
        minimum=1024,
        maximum=16 * MIB,
    )
    batch_events_max: int = _setting(
        1000, "Events of one batch: beyond it nothing gets faster and results get unwieldy.", minimum=1, maximum=10_000
    )
    body_bytes_max: int = _setting(
        8 * MIB,
        "Bytes of a request body or WebSocket message, unpacked: a thousand events of 8 KB.",
        minimum=1024,
    )
    arriving_bytes_max: int = _setting(
        512 * MIB,
        "Bytes of request bodies that are on their way at once; beyond it requests get 503 overloaded.",
        minimum=1024,
    )
    json_depth_max: int = _setting(64, "Levels of nesting in JSON; real events stay below 20.", minimum=2, maximum=500)
    waiting_bytes_max: int = _setting(
        64 * MIB,
        "Bytes of events that wait to be stored, shared by the buses; beyond it publishes get 503 overloaded.",
        minimum=MIB,
    )
    ring_bytes_max: int = _setting(
        64 * MIB,
        "Bytes of recent events in memory, shared by the buses, for readers that fell behind a little.",
        minimum=0,
    )

    connections_max: int = _setting(
        16_384, "Connections at once; further ones get 503. Keep it below the limit of open files.", minimum=1
    )
    headers_max: int = _setting(
        128, "Header lines of one request: several times what proxies add.", minimum=16, maximum=1024
    )
    header_bytes_max: int = _setting(
        8190, "Bytes of one header line or of the request line, the limit of common proxies.", minimum=1024
    )
    header_seconds: float = _setting(
        10.0, "Until the headers of a request must be complete: slow senders do not hold connections.", minimum=0.1
    )
    body_seconds: float = _setting(30.0, "Until the body of a request must be complete.", minimum=0.1)
    keepalive_seconds: float = _setting(
        75.0, "An idle HTTP connection is kept this long: longer than the 60 s of common proxies.", minimum=0
    )
    stalled_seconds: float = _setting(
        60.0, "A connection that takes no byte of what waits for it is closed after this long.", minimum=0.1
    )
    connection_age_seconds: float = _setting(
        1800.0,
        "Age, give or take 20 %, at which a connection is asked to move, so that load spreads. 0: never.",
        minimum=0,
    )
    stream_ping_seconds: float = _setting(
        15.0,
        "Between two pings on a stream, each with the cursor reached: below the idle time-outs of proxies.",
        minimum=0.1,
    )
    drain_lame_duck_seconds: float = _setting(
        5.0, "After SIGTERM requests are still served this long, not ready, while balancers take note.", minimum=0
    )
    drain_grace_seconds: float = _setting(
        40.0, "All of a shutdown; what runs then is cut. Give the platform 5 s more.", minimum=1
    )


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One row of the table."""

    name: str
    variable: str
    flag: str
    kind: type
    default: Any
    rule: Rule

    @property
    def default_text(self) -> str:
        """The default as one would write it."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def _table() -> tuple[SettingInfo, ...]:
    hints = get_type_hints(Settings)
    return tuple(
        SettingInfo(
            name=item.name,
            variable=item.name.upper() if item.name in PLAIN_NAMES else PREFIX + item.name.upper(),
            flag="--" + item.name.replace("_", "-"),
            kind=tuple if get_args(hints[item.name]) else hints[item.name],
            default=item.default,
            rule=item.metadata["rule"],
        )
        for item in fields(Settings)
    )


SETTINGS: Final[tuple[SettingInfo, ...]] = _table()
"""The table, in the order in which people read it."""


def load_settings(environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> Settings:
    """Return the settings that flags (by setting name) and environment give; raises `InvalidSettingError`."""
    values: dict[str, Any] = {}
    for info in SETTINGS:
        flag = (flags or {}).get(info.name)
        text = flag if flag is not None else environment.get(info.variable)
        if text is None or (text == "" and info.default != ()):
            continue
        values[info.name] = _parse(info, text, info.flag if flag is not None else info.variable)
    settings = Settings(**values)
    if settings.redis_url:
        _check_redis_url(settings.redis_url)
        durability_levels(settings)  # A mistake is found before anything is touched.
    return settings


def durability_levels(settings: Settings) -> dict[str, Durability]:
    """Return the level that each bus promises on Redis, by its name; raises `InvalidSettingError`."""
    return read_levels(settings.durability, settings.buses)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return variables with our prefix that nothing reads: most are misspelt."""
    known = {info.variable for info in SETTINGS} | CLIENT_VARIABLES
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _parse(info: SettingInfo, text: str, given_by: str) -> Any:  # noqa: ANN401 - the table's kinds differ
    if info.kind is bool:
        return _parse_bool(text, given_by)
    if info.kind is tuple:
        items = tuple(item.strip() for item in text.split(",") if item.strip())
        if info.rule.check is not None and (wrong := info.rule.check(items)) is not None:
            raise _invalid(given_by, text, wrong)
        return items
    if info.kind is Path:
        return Path(text)
    if info.kind is str:
        return _parse_choice(info, text, given_by)
    return _parse_number(info, text, given_by)


def _parse_bool(text: str, given_by: str) -> bool:
    if text.lower() in {"true", "1", "yes", "on"}:
        return True
    if text.lower() in {"false", "0", "no", "off"}:
        return False
    raise _invalid(given_by, text, "must be true or false")


def _parse_choice(info: SettingInfo, text: str, given_by: str) -> str:
    if info.rule.choices and text.upper() not in info.rule.choices:
        raise _invalid(given_by, text, f"must be one of {', '.join(info.rule.choices)}")
    if info.rule.check is not None and (wrong := info.rule.check(text)) is not None:
        raise _invalid(given_by, text, wrong)
    return text.upper() if info.rule.choices else text


def _parse_number(info: SettingInfo, text: str, given_by: str) -> float:
    what = "a whole number" if info.kind is int else "a number"
    try:
        number: float = info.kind(text.replace("_", ""))
    except ValueError:
        raise _invalid(given_by, text, f"must be {what}") from None
    low, high = info.rule.minimum, info.rule.maximum
    if not isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        span = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise _invalid(given_by, text, f"must be {what}, {span}")
    return number


def _invalid(given_by: str, text: str, rule: str) -> InvalidSettingError:
    return InvalidSettingError(f"{given_by} {rule}, not {text[:64]!r}")


def _check_redis_url(url: str) -> None:
    scheme = url.partition("://")[0].lower()
    if scheme.partition("+")[0] not in {"redis", "rediss"}:
        message = (
            "REDIS_URL must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://; unset it to use the "
            "embedded engine"
        )
        raise InvalidSettingError(message)
