"""Settings: one table, read from flags and environment, refused with the name that was given."""

from __future__ import annotations

import math
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from waooaw.events.errors import InvalidSettingError
from waooaw.events.settings import SETTINGS, SettingInfo, Settings, durability_levels, load_settings, unknown_variables

BY_NAME = {info.name: info for info in SETTINGS}


def test_defaults() -> None:
    """Nothing given is the default of everything, as the design fixes it."""
    settings = load_settings({})

    assert settings == Settings()
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8080, "INFO")
    assert settings.data_directory == Path("wowevent-data")
    assert (settings.retention_age_seconds, settings.retention_events, settings.retention_bytes) == (
        7 * 86_400,
        10_000_000,
        10_000_000_000,
    )
    assert (settings.deduplication_seconds, settings.deduplication_ids) == (300, 1_000_000)


@pytest.mark.parametrize("info", SETTINGS, ids=lambda info: info.name)
def test_each_setting_is_documented(info: SettingInfo) -> None:
    """Each has a sentence, a flag and a variable, and its default is within its own rule."""
    assert info.rule.help.strip().endswith((".", "disabled."))
    assert info.flag == "--" + info.name.replace("_", "-")
    assert info.variable in {info.name.upper(), "WOWEVENT_" + info.name.upper()}
    if info.default_text and info.name != "redis_url":
        assert getattr(load_settings({info.variable: info.default_text}), info.name) == info.default


def test_the_table_is_whole() -> None:
    """Every field of the settings is in the table, in order."""
    assert [info.name for info in SETTINGS] == [item.name for item in fields(Settings)]


def test_plain_names() -> None:
    """The four variables that platforms set have no prefix; the others do."""
    plain = {info.variable for info in SETTINGS if not info.variable.startswith("WOWEVENT_")}

    assert plain == {"PORT", "LOG_LEVEL", "EVENT_BUS_ENABLED", "REDIS_URL"}


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PORT", "0", 0),
        ("PORT", "65535", 65_535),
        ("WOWEVENT_HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104 - a value that is read, not listened on
        ("WOWEVENT_DATA_DIRECTORY", "/var/lib/x", Path("/var/lib/x")),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("EVENT_BUS_ENABLED", "false", False),
        ("EVENT_BUS_ENABLED", "0", False),
        ("EVENT_BUS_ENABLED", "OFF", False),
        ("EVENT_BUS_ENABLED", "Yes", True),
        (
            "WOWEVENT_ALLOWED_ORIGINS",
            "https://a.example, https://b.example,",
            ("https://a.example", "https://b.example"),
        ),
        ("WOWEVENT_ALLOWED_ORIGINS", "", ()),
        ("WOWEVENT_RETENTION_EVENTS", "10_000", 10_000),
        ("WOWEVENT_HEADER_SECONDS", "0.5", 0.5),
        ("WOWEVENT_HEADER_SECONDS", "3", 3.0),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "10.20.0.0/16, fd00:7::/64,", ("10.20.0.0/16", "fd00:7::/64")),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "10.20.0.7", ("10.20.0.7",)),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "", ()),
        ("WOWEVENT_WEBHOOK_ORIGIN", "events.Example-1.com", "events.Example-1.com"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "", "wowevent"),
        ("PORT", "", 8080),
        ("LOG_LEVEL", "", "INFO"),
    ],
)
def test_values(variable: str, text: str, value: object) -> None:
    """A value is read by its kind; an empty one is as good as none."""
    (info,) = (info for info in SETTINGS if info.variable == variable)

    found = getattr(load_settings({variable: text}), info.name)

    assert (found, type(found)) == (value, type(value) if not isinstance(value, Path) else type(Path()))


@pytest.mark.parametrize(
    ("variable", "text", "rule"),
    [
        ("PORT", "http", "a whole number"),
        ("PORT", "80.5", "a whole number"),
        ("PORT", "-1", "between 0 and 65535"),
        ("PORT", "65536", "between 0 and 65535"),
        ("LOG_LEVEL", "LOUD", "one of DEBUG"),
        ("EVENT_BUS_ENABLED", "maybe", "true or false"),
        ("WOWEVENT_RETENTION_EVENTS", "0", "at least 1"),
        ("WOWEVENT_RETENTION_AGE_SECONDS", "1e3", "a whole number"),
        ("WOWEVENT_HEADER_SECONDS", "0", "at least 0.1"),
        ("WOWEVENT_HEADER_SECONDS", "nan", "at least 0.1"),
        ("WOWEVENT_HEADER_SECONDS", "soon", "a number"),
        ("WOWEVENT_JSON_DEPTH_MAX", "1000", "between 2 and 500"),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "10.20.0.0/33", "must be networks such as"),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "10.20.0.1/16", "must be networks such as"),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "agent.internal", "must be networks such as"),
        ("WOWEVENT_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8,*", "must be networks such as"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "https://events.example.com", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "events.example.com:443", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "-events", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "a..b", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "*", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "a\r\nb", "must be a name as DNS has them"),
        ("WOWEVENT_WEBHOOK_ORIGIN", "a" * 64, "must be a name as DNS has them"),
    ],
)
def test_refused_values(variable: str, text: str, rule: str) -> None:
    """A value outside its rule names the variable or flag it came by, the rule, and the value."""
    with pytest.raises(InvalidSettingError) as refused:
        load_settings({variable: text})
    (info,) = (info for info in SETTINGS if info.variable == variable)
    with pytest.raises(InvalidSettingError) as refused_flag:
        load_settings({}, {info.name: text})

    assert str(refused.value).startswith(variable)
    assert rule in str(refused.value)
    assert repr(text) in str(refused.value)
    assert str(refused_flag.value).startswith(info.flag)


@pytest.mark.parametrize(
    "info", [info for info in SETTINGS if info.rule.minimum is not None], ids=lambda info: info.name
)
def test_least_values(info: SettingInfo) -> None:
    """The least value is allowed, and one below it is not."""
    least = info.rule.minimum
    assert least is not None
    below = math.nextafter(least, -math.inf) if info.kind is float else least - 1

    load_settings({info.variable: repr(info.kind(least))})
    with pytest.raises(InvalidSettingError):
        load_settings({info.variable: repr(info.kind(below))})


def test_a_flag_beats_the_environment() -> None:
    """What is said at the start is meant; a flag that was not given says nothing."""
    environment = {"PORT": "1", "LOG_LEVEL": "DEBUG"}

    settings = load_settings(environment, {"port": "2", "log_level": None})

    assert (settings.port, settings.log_level) == (2, "DEBUG")


@pytest.mark.parametrize(
    ("text", "buses", "levels"),
    [
        ("local", ("default", "orders"), {"default": "local", "orders": "local"}),
        (" fsync ", ("default",), {"default": "fsync"}),
        (
            "default=local, orders = replicated,",
            ("default", "orders"),
            {"default": "local", "orders": "replicated"},
        ),
    ],
)
def test_durability_levels(text: str, buses: tuple[str, ...], levels: dict[str, str]) -> None:
    """One level stands for all buses; otherwise each has its own."""
    assert durability_levels(Settings(durability=text, buses=buses)) == levels


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("safe", "'safe' is no level; the levels are local, fsync, replicated"),
        ("memory", "'memory' is no level"),
        ("default=local", "no level for orders"),
        ("default=local,orders=none", "'none' is no level"),
        ("default=local,invoices=local", "'invoices' is no bus of WOWEVENT_BUSES"),
        ("default=local,default=fsync,orders=local", "default stands there twice"),
        ("default=local,fsync", "'fsync' is no bus=level"),
    ],
)
def test_refused_levels(text: str, told: str) -> None:
    """A promise that cannot be read, or that a bus lacks, ends the start; without Redis nobody reads it."""
    environment = {"WOWEVENT_BUSES": "default,orders", "WOWEVENT_DURABILITY": text}

    load_settings(environment)
    with pytest.raises(InvalidSettingError) as refused:
        load_settings({**environment, "REDIS_URL": "redis://:secret@host"})

    assert told in str(refused.value)
    assert "WOWEVENT_DURABILITY" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("orders", "must contain default"),
        ("default,Orders", "must name buses by"),
        ("default,-a", "must name buses by"),
        ("default," + "a" * 64, "must name buses by"),
        ("default,a,a", "must name each bus once"),
        (",".join(["default", *(f"b{number}" for number in range(64))]), "at most 64"),
        (" , ", "must contain default"),
    ],
)
def test_refused_buses(text: str, told: str) -> None:
    """Names that would need quoting, doubles, too many, and a list without the default are refused."""
    with pytest.raises(InvalidSettingError, match=re.escape(told)) as refused:
        load_settings({"WOWEVENT_BUSES": text})

    assert str(refused.value).startswith("WOWEVENT_BUSES")


def test_buses() -> None:
    """Buses keep the order in which they are given."""
    assert load_settings({"WOWEVENT_BUSES": "orders, default"}).buses == ("orders", "default")
    assert load_settings({"WOWEVENT_BUSES": ""}).buses == ("default",)


def test_secrets_are_marked() -> None:
    """Whatever holds a password is marked as such, so that nothing prints it."""
    assert {info.name for info in SETTINGS if info.rule.secret} == {
        "redis_url",
        "redis_password",
        "redis_sentinel_password",
    }


def test_misspelt_variables_are_found() -> None:
    """A variable with our prefix that nothing reads is most likely a mistake; others are not ours."""
    environment = {
        "WOWEVENT_PUSH_SECRET": "x",
        "WOWEVENT_PUSH_AUTHORIZATION": "x",
        "WOWEVENT_HOST": "x",
        "WOWEVENT_HOTS": "x",
        "WOWEVENT_URL": "x",
        "WOWEVENT_A": "x",
        "HOME": "/",
        "PORT": "1",
    }

    assert unknown_variables(environment) == ["WOWEVENT_A", "WOWEVENT_HOTS"]


def test_settings_do_not_change() -> None:
    """What was read at the start holds until the end."""
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]  # what the test is about


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("event_bus_enabled", "true"),
        ("allowed_origins", ""),
        ("header_seconds", "10"),
        ("port", "8080"),
        ("data_directory", "wowevent-data"),
        ("buses", "default"),
    ],
)
def test_defaults_as_text(name: str, text: str) -> None:
    """The guide and ``--help`` show a default as one would write it."""
    assert BY_NAME[name].default_text == text
