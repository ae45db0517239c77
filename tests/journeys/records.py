"""What the server has written down, and whether it agrees with the flags."""

from holdfast.demo.fleet import BUCKET, NEW
from tests.journeys.stage import Stage


async def rebuild(stage: Stage) -> None:
    """Make the database anew from the disk."""
    answer = await stage.api.post("/api/config/rebuild-from-disk")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["pools_imported"], found["vhosts_imported"]) == (2, 1), found
    assert found["migrations_imported"] == 1, found


async def assert_moved(stage: Stage, identifier: int) -> None:
    """The migration is done, its route names the new pool, no job is left, no file has drifted."""
    assert await stage.flag() == f"static.{NEW}"
    listed = (await stage.api.get("/api/migrations")).json()
    assert [(row["id"], row["phase"]) for row in listed] == [(identifier, "done")]
    pools = {pool["name"]: pool["id"] for pool in (await stage.api.get("/api/pools")).json()}
    routes = (await stage.api.get("/api/vhosts/1/routes")).json()
    route = next(route for route in routes if route["path_prefix"] == f"/{BUCKET}/")
    assert (route["pool_id"], route["migration_id"]) == (pools[NEW], None)
    drifted = (await stage.api.get("/api/config/status")).json()["files"]
    assert [file["path"] for file in drifted if file["drifted"]] == []
