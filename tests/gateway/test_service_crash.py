"""A process that dies in the middle of a change leaves a disk and a database that come to agree."""

import asyncio
import multiprocessing
import shutil
from pathlib import Path

import pytest

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.parse import parse_files
from holdfast.gateway.render_model import PoolSpec, VhostSpec, pool_alias
from holdfast.gateway.service import rows
from holdfast.gateway.service.config import rebuild
from holdfast.gateway.startup import StartupDifferences, start
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from tests.gateway.crashing import CHANGES, DIED, STEPS, crash
from tests.gateway.room import Room, build_services, open_room, tree_digest

pytestmark = pytest.mark.real
CRASH_SECONDS = 60.0
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.gateway.crashing"])  # read once, not for each of them
ONLY_FLAGS = {"add_route", "delete_route"}
FLAG_STEPS = {"before the flag", "after the flag", "after the flag went"}


def happens(step: str, change: str) -> bool:
    """Whether a change comes by a step."""
    if step in FLAG_STEPS:
        sets = change in {"add_route", "move_route", "rename_pool", "rename_vhost"}
        removes = change in {"delete_route", "delete_vhost", "rename_vhost"}
        return removes if step == "after the flag went" else sets
    return step in {"before the commit", "after the commit"} or change not in ONLY_FLAGS


CASES = [(step, change) for step in STEPS for change in CHANGES if happens(step, change)]


async def disk_and_rows_agree(services: Services) -> None:
    gateway = services.get(Gateway)
    spec = parse_files(gateway.generations.files())
    async with services.database.read() as session:
        pools, _ = await queries.pool_page(session, limit=1000, offset=0)
        vhosts, _ = await queries.vhost_page(session, limit=1000, offset=0)
        known_pools = await rows.pool_specs(session, [pool.name for pool in pools])
        known_vhosts = await rows.vhost_specs(session, [vhost.server_name for vhost in vhosts])
        routed = await queries.routed_buckets(session)
        published = await queries.published(session)
    assert [plain_pool(p) for p in spec.pools] == [plain_pool(p) for p in known_pools]
    assert [plain_vhost(v) for v in spec.vhosts] == [plain_vhost(v) for v in known_vhosts]
    flags = {(v, b): flag.pool_alias for v, b, flag in gateway.flags.list()}
    assert flags == {(r.vhost, r.bucket): pool_alias(r.pool) for r in routed}
    assert published.generation == gateway.generations.current()
    status = await gateway.nginx.status()
    assert status.loaded_generation == published.generation


def plain_pool(spec: PoolSpec) -> tuple[object, ...]:
    members = [(m.address, m.role, m.weight, m.enabled) for m in spec.members]
    return spec.name, spec.type, spec.lb_method, spec.keepalive, sorted(members)


def plain_vhost(spec: VhostSpec) -> tuple[object, ...]:
    routes = [(r.path_prefix, r.pool, r.extra_directives, r.enabled) for r in spec.routes]
    return spec.server_name, spec.listen_port, spec.default_pool, sorted(routes)


async def prepared(room: Room) -> None:
    one, two = await room.pool("one", "127.0.0.1:1"), await room.pool("two", "127.0.0.1:2")
    vhost_id = await room.vhost(one)
    await room.route(vhost_id, "/bucket/", two)
    await room.route(vhost_id, "/deep/er/", two)


@pytest.mark.parametrize(("step", "change"), CASES)
async def test_a_crash_at_any_step_ends_in_agreement(
    sqlite_template: Path, tmp_path: Path, step: str, change: str
) -> None:
    shutil.copy(sqlite_template, tmp_path / "holdfast.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/holdfast.db"
    async with open_room(url, tmp_path) as room:
        await prepared(room)
        dying = FORKS.Process(target=crash, args=(url, tmp_path, step, change, room.lab.command))
        dying.start()
        await asyncio.to_thread(dying.join, CRASH_SECONDS)
        assert dying.exitcode == DIED
        services = build_services(url, tmp_path, room.lab.command)
        await start(services)
        await disk_and_rows_agree(services)
        settled = tree_digest(room.root)
        again = build_services(url, tmp_path, room.lab.command)
        await start(again)
        assert again.get(StartupDifferences).texts == []
        assert tree_digest(room.root) == settled
        async with again.database.write(SYSTEM) as work:
            rebuilt = await rebuild(work, again.get(Gateway))
        assert (rebuilt.written, rebuilt.removed) == ([], [])
        assert tree_digest(room.root) == settled
        await services.database.close()
        await again.database.close()
