"""The three places where a bus can be: in memory, in a file, and in a service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service_process import ServiceProcess


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("shared")) as service:
        yield service


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path) as service:
        yield service


@pytest.fixture(params=["memory", "sqlite", "http"])
def bus_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bus.db"
    service: ServiceProcess = request.getfixturevalue("shared_service")
    return service.url
