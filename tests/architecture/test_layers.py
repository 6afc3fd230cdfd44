"""The layers stay layers. Each rule is run over the tree, and over a source that breaks it."""

from __future__ import annotations

import pytest

from tests.architecture import layers
from tests.architecture.source import Source, parse, tree


def test_imports_point_downwards() -> None:
    """A layer imports only those below it."""
    found = list(layers.arrows(tree()))

    assert not found, "\n".join(found)


def test_the_core_imports_values_only() -> None:
    """The core imports the standard library, msgspec and uuid_utils, and nothing that reads, writes or waits."""
    found = list(layers.core_libraries(tree()))

    assert not found, "\n".join(found)


def test_libraries_stay_in_the_layer_that_adapts_them() -> None:
    """A foreign library is known to one layer, so that it can be replaced there."""
    found = list(layers.library_homes(tree()))

    assert not found, "\n".join(found)


def test_the_product_does_without_its_testing_module() -> None:
    """Nothing that runs in production imports what is there for tests."""
    found = list(layers.testing_stays_in_tests(tree()))

    assert not found, "\n".join(found)


def test_no_modules_import_each_other() -> None:
    """The modules form no ring."""
    found = list(layers.cycles(tree()))

    assert not found, "\n".join(found)


def _sources(path: str, text: str) -> list[Source]:
    """A small tree with every layer in it, and one file of our own."""
    present = [
        "__init__ connect errors event testing engine/__init__ engine/contract engine/opening engine/sqlite/log",
        "engine/redis/log bus/bus client/session service/app service/streams cli/main cli/serve",
    ]
    others = [f"waooaw/events/{name}.py" for name in " ".join(present).split()]
    return [parse(path, text), *(parse(other, "") for other in others if other != path)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("event.py", "from waooaw.events.bus.bus import EventBus"),
        ("event.py", "from waooaw.events import connect"),
        ("event.py", "from waooaw.events import Event"),
        ("event.py", "def late():\n    import waooaw.events.client.session"),
        (
            "event.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from waooaw.events.engine import contract",
        ),
        ("engine/contract.py", "from waooaw.events.engine.sqlite.log import Log"),
        ("engine/opening.py", "from waooaw.events.bus.bus import EventBus"),
        ("engine/sqlite/log.py", "from waooaw.events.engine.redis.log import Log"),
        ("engine/redis/log.py", "from waooaw.events.engine.sqlite.log import Log"),
        ("engine/redis/log.py", "from ..sqlite.log import Log"),
        ("bus/bus.py", "from waooaw.events.engine.sqlite.log import Log"),
        ("bus/bus.py", "from waooaw.events.engine import open_engine"),
        ("bus/bus.py", "from waooaw.events.service.app import Service"),
        ("service/streams.py", "from waooaw.events.engine.redis.log import Log"),
        ("service/streams.py", "from waooaw.events.engine import open_engine"),
        ("service/streams.py", "from waooaw.events.client.session import Session"),
        ("client/session.py", "from waooaw.events.bus.bus import EventBus"),
        ("client/session.py", "from waooaw.events.engine.contract import Engine"),
        ("cli/main.py", "def serve():\n    from waooaw.events.service.app import Service"),
        ("cli/main.py", "from waooaw.events.bus.bus import EventBus"),
        ("cli/serve.py", "from waooaw.events.service.app import Service"),
        ("connect.py", "from waooaw.events.client.session import Session"),
        ("connect.py", "def connect():\n    from waooaw.events.service.app import Service"),
        ("__init__.py", "from waooaw.events.service.app import Service"),
        ("newlayer/file.py", "from waooaw.events.bus.bus import EventBus"),
    ],
)
def test_an_import_against_an_arrow_is_found(path: str, text: str) -> None:
    """Each arrow that the design forbids is refused, lazily or for types alone too."""
    found = list(layers.arrows(_sources(f"waooaw/events/{path}", text)))

    assert len(found) == 1
    assert found[0].startswith(f"waooaw/events/{path}:{len(text.splitlines())}: ")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("event.py", "from waooaw.events import errors"),
        ("engine/__init__.py", "from waooaw.events.engine.sqlite.log import Log"),
        ("engine/sqlite/log.py", "from waooaw.events.engine import contract, opening"),
        ("bus/bus.py", "from waooaw.events.engine import contract"),
        (
            "service/app.py",
            "from waooaw.events.engine import open_engine\nfrom waooaw.events.engine.redis.log import Log",
        ),
        ("service/streams.py", "from waooaw.events.engine.contract import Engine"),
        ("client/session.py", "from waooaw.events.event import Event"),
        ("cli/main.py", "from waooaw.events.cli import serve\nfrom waooaw.events.client.session import Session"),
        ("cli/serve.py", "def serve():\n    from waooaw.events.service.app import Service"),
        ("connect.py", "def connect():\n    from waooaw.events.engine import open_engine"),
        ("connect.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from waooaw.events.bus import bus"),
        ("__init__.py", "from waooaw.events.bus.bus import EventBus\nfrom waooaw.events.connect import connect"),
    ],
)
def test_an_import_along_an_arrow_passes(path: str, text: str) -> None:
    """What the design allows is not refused."""
    assert list(layers.arrows(_sources(f"waooaw/events/{path}", text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio",
        "import sqlite3",
        "import aiohttp",
        "from urllib import request",
        "from http.client import OK",
        "from os import path, sep\nimport click",
    ],
)
def test_a_library_in_the_core_is_found(text: str) -> None:
    """Input, output and foreign libraries are refused in the core."""
    assert len(list(layers.core_libraries(_sources("waooaw/events/event.py", text)))) == 1


def test_a_value_library_in_the_core_passes() -> None:
    """Values are what the core is made of."""
    text = "import json\nimport msgspec\nfrom uuid_utils import uuid7\nfrom urllib.parse import quote"

    assert list(layers.core_libraries(_sources("waooaw/events/event.py", text))) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("bus/bus.py", "import aiohttp"),
        ("bus/bus.py", "import prometheus_client"),
        ("engine/sqlite/log.py", "import redis"),
        ("engine/redis/log.py", "import sqlite3"),
        ("service/app.py", "import click"),
        ("cli/main.py", "from redis.asyncio import Redis"),
    ],
)
def test_a_library_outside_its_layer_is_found(path: str, text: str) -> None:
    """A library in a layer that does not adapt it is refused."""
    assert len(list(layers.library_homes(_sources(f"waooaw/events/{path}", text)))) == 1


def test_a_library_in_its_layer_passes() -> None:
    """A library in the layer that adapts it is what the layer is for."""
    assert list(layers.library_homes(_sources("waooaw/events/service/app.py", "import aiohttp, uvloop"))) == []


@pytest.mark.parametrize(
    "text", ["from waooaw.events.testing import Bus", "from waooaw.events import testing", "import tests"]
)
def test_a_product_module_that_needs_tests_is_found(text: str) -> None:
    """The product importing from tests is refused, however it is written."""
    assert len(list(layers.testing_stays_in_tests(_sources("waooaw/events/bus/bus.py", text)))) == 1


def test_a_cycle_is_found() -> None:
    """A ring is found once, lazily imported links included, and is printed as a path."""
    sources = [
        parse("waooaw/events/a.py", "import waooaw.events.b"),
        parse("waooaw/events/b.py", "from waooaw.events import c"),
        parse("waooaw/events/c.py", "def late():\n    from waooaw.events.a import A"),
    ]

    found = list(layers.cycles(sources))

    assert found == ["import cycle: waooaw.events.a -> waooaw.events.b -> waooaw.events.c -> waooaw.events.a"]


def test_a_type_is_no_link_of_a_cycle() -> None:
    """Two modules may name each other where one needs the other for its types alone."""
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from waooaw.events.a import A"
    sources = [parse("waooaw/events/a.py", "import waooaw.events.b"), parse("waooaw/events/b.py", guarded)]

    assert list(layers.cycles(sources)) == []
