"""Every test of this folder runs once for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.engines import ENGINES, EngineKind, EngineUnderTest, Writer
from waooaw.events.engine.contract import Engine


@pytest.fixture(params=ENGINES, ids=lambda kind: kind.name)
async def under_test(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    kind: EngineKind = request.param
    found = EngineUnderTest(kind, tmp_path)
    yield found
    await found.close()


@pytest.fixture
async def engine(under_test: EngineUnderTest) -> Engine:
    return await under_test.open()


@pytest.fixture
async def writer(engine: Engine) -> Writer:
    return await Writer.registered(engine)
