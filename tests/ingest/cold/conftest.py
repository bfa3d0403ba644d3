"""Maintenance with a folder, as the service that it is."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.runtime.postgres import open_pool
from tests.ingest.cold.cold_world import Cold


@pytest.fixture
async def cold(database, tmp_path: Path) -> AsyncGenerator[Cold]:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "froid"
    folder.mkdir()
    async with open_pool(database.url_of("maintenance"), "territoire-tests", size=3) as pool:
        yield Cold(pool, folder)
