"""What tests of operation are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operation.sites import Operated, operated


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Operated]:
    with operated(tmp_path) as site:
        yield site
