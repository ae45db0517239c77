"""Services on both databases, people with passwords, browsers."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from tests.kernel.api import services_for


@pytest.fixture
def services(database: Database, tmp_path: Path, cheap_passwords: None) -> Services:
    return services_for(database, tmp_path / "data")
