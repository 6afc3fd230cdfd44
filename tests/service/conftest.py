"""The service that a module's tests share; each module says its settings in ``VARIABLES``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.watched_service import WatchedService


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedService]:
    """A running service; when the module is done, its log lines and its count of events are looked at."""
    variables = getattr(request.module, "VARIABLES", {})
    with WatchedService(tmp_path_factory.mktemp("service"), variables) as watched:
        yield watched
        watched.check()
