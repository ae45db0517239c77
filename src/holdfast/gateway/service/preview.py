"""Files as they would be written for what is stored, or for a draft that is not."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries, render
from holdfast.gateway.context import Gateway
from holdfast.gateway.file_change import render_context
from holdfast.gateway.model import RouteDraft, VhostDraft
from holdfast.gateway.render_model import VhostSpec
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_route, check_tls, check_vhost
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import RouteRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest


@dataclasses.dataclass(frozen=True, slots=True)
class Preview:
    """A file and its text; ``content`` is None when there would be no file."""

    path: Path
    content: str | None


async def preview_pool(session: AsyncSession, gateway: Gateway, pool_id: int) -> Preview:
    """A pool's file. Raises ``NotFound``."""
    pool = await get_pool(session, pool_id)
    (spec,) = await rows.pool_specs(session, [pool.name])
    path, _ = render.pool_paths(pool.name)
    return Preview(live_dir(gateway) / path, render.pool_files(spec).get(path))


async def preview_vhost(session: AsyncSession, gateway: Gateway, vhost_id: int) -> Preview:
    """A vhost's file. Raises ``NotFound``."""
    vhost = await get_vhost(session, vhost_id)
    (spec,) = await rows.vhost_specs(session, [vhost.server_name])
    return await _of_vhost(gateway, spec)


async def preview_draft(
    session: AsyncSession, gateway: Gateway, draft: VhostDraft, routes: Sequence[RouteDraft] = ()
) -> Preview:
    """The file of a vhost that is not stored. Raises ``Invalid`` and ``BadRequest``."""
    draft = check_vhost(draft)
    check_tls(draft, is_new=True)
    known = await queries.pool_names(session)
    wanted = [route.pool_id for route in routes]
    if draft.default_pool_id is not None:
        wanted.append(draft.default_pool_id)
    for pool_id in wanted:
        if pool_id not in known:
            raise BadRequest(f"Pool {pool_id} not found", hint="holdfast pool list")
    moment = now()
    vhost = VhostRow(**rows.vhost_columns(draft), created_at=moment, updated_at=moment)
    made = [
        RouteRow(**dataclasses.asdict(check_route(r)), created_at=moment, updated_at=moment)
        for r in routes
    ]
    types = {known[pool_id][1] for pool_id in wanted}
    return await _of_vhost(gateway, rows.vhost_spec(vhost, made, known, types))


def live_dir(gateway: Gateway) -> Path:
    """Where the live generation is reached."""
    return gateway.settings.nginx_root / "live"


async def _of_vhost(gateway: Gateway, spec: VhostSpec) -> Preview:
    path, _ = render.vhost_paths(spec.server_name)
    files = render.vhost_files(spec, await render_context(gateway))
    return Preview(live_dir(gateway) / path, files.get(path))
