"""After a restore with another secret, the stored keys cannot be read: said clearly, and early."""

import pytest

from holdfast.gateway.service.health import check_sealed
from holdfast.gateway.tables import CredentialRow
from holdfast.kernel.contributors import Verdict
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.work import SYSTEM
from tests.gateway.room import Room

pytestmark = pytest.mark.real


async def test_keys_sealed_with_another_secret_are_told_by_doctor_and_by_the_api(
    quick_room: Room,
) -> None:
    pool_id = await quick_room.pool("one")
    path = f"/pools/{pool_id}/credentials"
    await quick_room.ok("PUT", path, access_key="access", secret_key="s3cret")
    assert [f.verdict for f in await check_sealed(quick_room.services)] == [Verdict.OK]
    async with quick_room.services.database.write(SYSTEM) as work:
        row = await work.session.get(CredentialRow, pool_id)
        assert row is not None
        row.secret_key_enc = row.access_key_enc = Sealer("of another time").seal("access")
    [finding] = await check_sealed(quick_room.services)
    assert finding.verdict is Verdict.FAIL
    assert "of one were sealed" in finding.detail
    assert "credential set" in finding.remedy
    refused = await quick_room.ok("GET", path, 409)
    assert refused["code"] == "cannot_unseal"
    assert "store the secret again" in refused["hint"]
    await quick_room.ok("PUT", path, access_key="access", secret_key="s3cret")
    assert [f.verdict for f in await check_sealed(quick_room.services)] == [Verdict.OK]
