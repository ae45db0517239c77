"""When nginx cannot read the routing flags it answers 503: a default pool may have stale data."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from holdfast.gateway.service.health import check_flags
from holdfast.gateway.startup import StartupDifferences, start
from holdfast.gateway.tables import RouteRow
from holdfast.kernel.contributors import Verdict
from tests.gateway.room import HOST, Room, open_room
from tests.kernel.nginx.lab import send

pytestmark = pytest.mark.real


async def status_of(room: Room, path: str, method: str = "GET") -> int:
    return (await send(room.port, method, path, host=HOST)).status


async def a_routed_bucket(room: Room, echo_one: str, echo_two: str) -> None:
    vhost_id = await room.vhost(await room.pool("one", echo_one))
    await room.route(vhost_id, "/bkt/", await room.pool("two", echo_two))
    assert await room.asks("/bkt/x") == "two GET /bkt/x"


async def test_without_its_folder_no_request_falls_to_the_default_pool(
    quick_room: Room, echo_one: str, echo_two: str
) -> None:
    await a_routed_bucket(quick_room, echo_one, echo_two)
    routes, away = quick_room.root / "routes", quick_room.root / "away"
    routes.rename(away)
    for method in ("GET", "PUT", "DELETE"):
        assert await status_of(quick_room, "/bkt/x", method) == 503
    routes.mkdir()
    assert await status_of(quick_room, "/bkt/x") == 503
    shown = await quick_room.ok("GET", "/config/drift")
    assert any(item["path"].endswith("routes/.ready") for item in shown)
    (finding,) = await check_flags(quick_room.services)
    assert finding.verdict is Verdict.FAIL
    routes.rmdir()
    away.rename(routes)
    assert await quick_room.asks("/bkt/x") == "two GET /bkt/x"


async def test_a_start_without_the_folder_keeps_the_routes_and_a_rebuild_writes_the_flags(
    quick_room: Room, echo_one: str, echo_two: str
) -> None:
    room = quick_room
    await a_routed_bucket(room, echo_one, echo_two)
    shutil.rmtree(room.root / "routes")
    await start(room.services)
    assert "503" in room.services.get(StartupDifferences).texts[0]
    async with room.services.database.read() as session:
        assert await session.scalar(select(RouteRow).where(RouteRow.bucket == "bkt"))
    assert await status_of(room, "/bkt/x") == 503
    await room.ok("POST", "/config/rebuild")
    assert await room.asks("/bkt/x") == "two GET /bkt/x"
    assert await room.ok("GET", "/config/drift") == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine may pass."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_a_folder_that_the_workers_may_not_pass_is_no_folder(
    open_folder: Path, sqlite_template: Path, echo_one: str, echo_two: str
) -> None:
    path = open_folder / "holdfast.db"
    shutil.copy(sqlite_template, path)
    url = f"sqlite+aiosqlite:///{path}"
    async with open_room(url, open_folder, running=False) as room:
        main = room.lab.main
        main.write_text(main.read_text().replace("user root;", "user www-data;"))
        await room.lab.start()
        await a_routed_bucket(room, echo_one, echo_two)
        (room.root / "routes").chmod(0o700)
        assert await status_of(room, "/bkt/x") == 503
        (finding,) = await check_flags(room.services)
        assert (finding.verdict, "routes" in finding.detail) == (Verdict.FAIL, True)
        (room.root / "routes").chmod(0o711)
        assert await room.asks("/bkt/x") == "two GET /bkt/x"
