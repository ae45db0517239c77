"""A repository on S3, taken over from a repos.yml, as clients of baricadr see it."""

import os
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from holdfast.dropin.baricadr import PREFIX
from holdfast.dropin.importing import import_repositories
from holdfast.kernel.clock import now
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import queries
from holdfast.tiers.service import looking
from holdfast.tiers.service.folders import look_into
from holdfast.tiers.service.looking_at_all import all_files
from tests.dropin.test_login import calling
from tests.kernel.api import API_KEY, services_for
from tests.servers.s3 import nanio_server
from tests.tiers.trees import BUCKET, a_database, make_bucket

pytestmark = pytest.mark.real
STORED = {"lab/one": b"1", "lab/deep/two lines": b"22", "other/three": b"333"}


async def test_its_files_are_listed_with_the_moment_they_were_put_there(
    sqlite_template: Path, tmp_path: Path
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "one").write_bytes(b"1")
    async with (
        nanio_server(tmp_path / "s3") as server,
        a_database(sqlite_template, tmp_path) as database,
    ):
        await make_bucket(server, STORED)
        services = services_for(database, tmp_path / "own", dropin=("baricadr",))
        build_hub(services)
        text = (
            f"{root}: {{backend: s3, provider: Other, endpoint: '{server.endpoint}', "
            f"path: {BUCKET}/lab/, access_key_id: '{server.access_key}', "
            f"secret_access_key: '{server.secret_key}'}}"
        )
        try:
            assert (await import_repositories(services, SYSTEM, text)).warnings == []
            async with calling(services) as client:
                client.auth = httpx.BasicAuth("operator", API_KEY)
                await _look(client, root)
                await _edited(services, root)
                await server.kill()
                answer = await client.post(f"{PREFIX}/list", json={"path": str(root)})
                assert answer.status_code == 400
                assert "nothing listens at its address" in answer.json()["error"]
        finally:
            await services.get(RcloneHub).stop()


async def _look(client: httpx.AsyncClient, root: Path) -> None:
    async def listed(call: str, path: Path = root, **body: object) -> httpx.Response:
        given = {"path": str(path), "max_depth": None, **body}
        return await client.post(f"{PREFIX}/{call}", json=given)

    names = ["deep/two lines", "one"]
    full = (await listed("list", full=True)).json()
    assert [(each["Path"], each["Size"]) for each in full] == [(names[0], 2), (names[1], 1)]
    moments = [datetime.fromisoformat(f"{each['ModTime'][:19]}+00:00") for each in full]
    assert all(abs((now() - moment).total_seconds()) < 3600 for moment in moments)
    tree = (await listed("tree")).json()
    assert tree == [{"Path": names[0], "missing": True}, {"Path": names[1], "missing": False}]
    (missing,) = (await listed("list", missing=True, from_root=True)).json()
    again = await listed("list", root / missing["Path"], missing="true")
    assert again.json() == [{"Path": "two lines"}]
    assert (await listed("list", root / "nothing")).json() == []
    assert (await listed("list", max_depth="many")).json() == [{"Path": "one"}]


async def _edited(services: Services, root: Path) -> None:
    """What was changed here later than it was put there may differ."""
    async with services.database.read() as session:
        (tier,) = await queries.all_tiers(session)
    for later, differs in ((-3600, False), (3600, None)):
        moment = now().timestamp() + later
        os.utime(root / "one", (moment, moment))
        rows, _ = await looking.list_files(services, bytes(root), depth=1, limit=9)
        assert [(row.path, row.differing) for row in rows] == [(b"one", differs)]
        shown = await look_into(services, tier, b"")
        told = [(one.name, one.is_folder, one.differing) for one in shown.entries]
        assert told == [("deep", True, False), ("one", False, differs)]
        streamed = [each async for block in all_files(services, bytes(root)) for each in block]
        told_of_all = [(one.path, one.differing) for one in streamed]
        assert told_of_all == [(b"deep/two lines", False), (b"one", differs)]
        ((one,),) = [block async for block in all_files(services, bytes(root / "one"))]
        assert one.differing is differs
