"""Services with an rclone of their own, and an admin who calls them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from tests.kernel.stores.stores_kit import calls, with_hub


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> AsyncIterator[Services]:
    async with with_hub(database, tmp_path) as made:
        yield made


@pytest.fixture
async def admin(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with calls(services) as client:
        yield client
