"""What the runs of this folder find goes into the documents, under ``make fault``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.parameters import is_long
from tests.fault.work.findings import WorkFindings


@pytest.fixture(scope="session")
def findings() -> Iterator[WorkFindings]:
    found = WorkFindings()
    yield found
    if is_long():
        found.write()
