"""A process that makes one change and dies at one step of it: made by `crash`.

The steps are wrapped here, in the test's process: the product knows nothing of them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.flags import RouteFlags
from holdfast.gateway.model import PoolDraft, RouteDraft, VhostDraft
from holdfast.gateway.service import members, pools, routes, vhosts
from holdfast.gateway.tables import MemberRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.nginx import Generations, Nginx
from holdfast.kernel.work import SYSTEM, Work
from tests.gateway.room import HOST, Json, build_services

DIED = 77

STEPS: dict[str, tuple[type, str, bool]] = {
    "before the files": (Generations, "prepare", False),
    "after the files": (Generations, "prepare", True),
    "before the switch": (Generations, "switch", False),
    "after the switch": (Generations, "switch", True),
    "before the reload": (Nginx, "reload", False),
    "after the reload": (Nginx, "wait_loaded", True),
    "before the flag": (RouteFlags, "set_flag", False),
    "after the flag": (RouteFlags, "set_flag", True),
    "after the flag went": (RouteFlags, "remove", True),
    "before the commit": (AsyncSession, "commit", False),
    "after the commit": (AsyncSession, "commit", True),
}
"""What to wrap, and whether to die after it."""


def arm(step: str) -> None:
    """From now on this process dies at ``step``."""
    owner, name, after = STEPS[step]
    real = getattr(owner, name)

    def dying(*args: Json, **kwargs: Json) -> Json:
        if not after:
            os._exit(DIED)
        result = real(*args, **kwargs)
        if asyncio.iscoroutine(result):
            return _then_die(result)
        os._exit(DIED)

    setattr(owner, name, dying)


async def _then_die(result: Awaitable[Any]) -> None:
    await result
    os._exit(DIED)


async def one(session: AsyncSession, kind: type[Any], **by: Json) -> Json:
    (found,) = (await session.scalars(select(kind).filter_by(**by))).all()
    return found


async def add_vhost(work: Work, gateway: Gateway) -> None:
    draft = VhostDraft(server_name="new.local", listen_port=8081, ssl=False)
    await vhosts.create_vhost(work, gateway, draft)


async def rename_vhost(work: Work, gateway: Gateway) -> None:
    vhost = await one(work.session, VhostRow, server_name=HOST)
    await vhosts.update_vhost(work, gateway, vhost.id, {"server_name": "other.local"})


async def delete_vhost(work: Work, gateway: Gateway) -> None:
    vhost = await one(work.session, VhostRow, server_name=HOST)
    await vhosts.delete_vhost(work, gateway, vhost.id)


async def add_pool(work: Work, gateway: Gateway) -> None:
    await pools.create_pool(work, gateway, PoolDraft(name="three"))


async def rename_pool(work: Work, gateway: Gateway) -> None:
    pool = await one(work.session, PoolRow, name="two")
    await pools.update_pool(work, gateway, pool.id, {"name": "with.dots"})


async def change_member(work: Work, gateway: Gateway) -> None:
    member = await one(work.session, MemberRow, address="127.0.0.1:1")
    changes = {"address": "127.0.0.1:3", "enabled": False}
    await members.update_member(work, gateway, member.pool_id, member.id, changes)


async def add_route(work: Work, gateway: Gateway) -> None:
    vhost = await one(work.session, VhostRow, server_name=HOST)
    pool = await one(work.session, PoolRow, name="two")
    draft = RouteDraft(vhost_id=vhost.id, path_prefix="/added/", pool_id=pool.id)
    await routes.create_route(work, gateway, draft)


async def move_route(work: Work, gateway: Gateway) -> None:
    route = await one(work.session, RouteRow, path_prefix="/bucket/")
    pool = await one(work.session, PoolRow, name="one")
    changes = {"pool_id": pool.id, "extra_directives": "expires 1h"}
    await routes.update_route(work, gateway, route.vhost_id, route.id, changes)


async def delete_route(work: Work, gateway: Gateway) -> None:
    route = await one(work.session, RouteRow, path_prefix="/bucket/")
    await routes.delete_route(work, gateway, route.vhost_id, route.id)


CHANGES: dict[str, Callable[[Work, Gateway], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        add_vhost,
        rename_vhost,
        delete_vhost,
        add_pool,
        rename_pool,
        change_member,
        add_route,
        move_route,
        delete_route,
    )
}


def crash(url: str, directory: Path, step: str, change: str, command: list[str]) -> None:
    """The whole life of the process."""
    asyncio.run(_change(url, directory, step, change, command))


async def _change(url: str, directory: Path, step: str, change: str, command: list[str]) -> None:
    services = build_services(url, directory, command)
    arm(step)
    async with services.database.write(SYSTEM) as work:
        await CHANGES[change](work, services.get(Gateway))
    await services.database.close()
