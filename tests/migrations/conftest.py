"""What tests of migrations share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from holdfast.demo.fleet import running_fleet
from tests.migrations.site import Site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site, one for all tests of a file."""
    async with running_fleet(tmp_path_factory.mktemp("site")) as fleet, fleet.api() as api:
        pools = {pool["name"]: pool["id"] for pool in (await api.get("/api/pools")).json()}
        yield Site(fleet, api, pools)
