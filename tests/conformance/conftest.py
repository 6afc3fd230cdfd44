"""Every test of this folder runs once for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.engines import ENGINES, EngineKind, EngineUnderTest, Writer
from tests.redis_servers.shared import TopologyFactory, redis_topology  # noqa: F401 - a fixture, found by its name
from waooaw.events.engine.contract import Engine


@pytest.fixture(params=ENGINES, ids=lambda kind: kind.name)
async def under_test(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    redis_topology: TopologyFactory,  # noqa: F811 - the fixture
) -> AsyncIterator[EngineUnderTest]:
    kind: EngineKind = request.param
    url = "" if kind.topology is None else (await redis_topology(kind.topology)).url
    found = EngineUnderTest(kind, tmp_path, url)
    yield found
    await found.close()


@pytest.fixture
async def engine(under_test: EngineUnderTest) -> Engine:
    return await under_test.open()


@pytest.fixture
async def writer(engine: Engine) -> Writer:
    return await Writer.registered(engine)
