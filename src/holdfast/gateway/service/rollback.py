"""Back to an old generation: nginx's files first, and the rows follow them."""

import asyncio

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.parse import parse_files
from holdfast.gateway.publish import hold_lock, refuse_if_bad
from holdfast.gateway.render_model import GatewaySpec, pool_alias
from holdfast.gateway.service.adopt import adopt, drop_pools
from holdfast.gateway.service.follow import follow_flags
from holdfast.gateway.service.reading import keep_times
from holdfast.gateway.tables import RouteRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict
from holdfast.kernel.nginx import Candidate, go_live, take_back
from holdfast.kernel.work import Work


async def roll_back(work: Work, gateway: Gateway, number: int) -> list[str]:
    """Make an old generation live again; gives what the rows had otherwise.

    Routing flags are no part of a generation and stay as they are, but for vhosts that go; so nginx
    reloads in any case: a flag has an effect at once. Raises ``NotFound``; ``Conflict`` while a
    bucket is being moved, and when a flag names a pool that was not there; ``NginxRefused``.
    """
    generations, nginx = gateway.generations, gateway.nginx
    await _check_nothing_moves(work.session)
    await hold_lock(work, gateway)
    candidate = await asyncio.to_thread(generations.rollback, number)
    spec = await asyncio.to_thread(_read, gateway, candidate)
    _check_flags(gateway, spec)
    told = await adopt(work.session, spec)
    await keep_times(work.session, spec)
    if work.dry_run:
        refuse_if_bad(await nginx.test(candidate))
        return told + await drop_pools(work.session, spec)
    outcome = await go_live(generations, nginx, candidate)
    work.on_rollback(lambda: take_back(generations, nginx, candidate))
    published = await queries.published(work.session)
    published.generation, published.last_output = number, outcome.output
    published.reload_pending = not outcome.live
    published.last_reload_ok, published.last_reload_at = outcome.live, now()
    told += await follow_flags(work, gateway)
    told += await drop_pools(work.session, spec)
    before = {"generation": candidate.previous}
    work.audit("rollback", "config", number, before=before, after={"differences": told})
    work.emit("gateway", "config.rolled_back", {"generation": number})
    return told


async def _check_nothing_moves(session: AsyncSession) -> None:
    query = select(RouteRow.path_prefix).where(RouteRow.migration_id.is_not(None))
    moving = sorted({prefix.strip("/") for prefix in await session.scalars(query)})
    if moving:
        raise Conflict(
            f"bucket {moving[0]!r} is being moved: its pools must stay as they are",
            hint="wait for its migration, or cancel it",
        )


def _read(gateway: Gateway, candidate: Candidate) -> GatewaySpec:
    written = gateway.generations.record(candidate.number).files
    texts = {path: (candidate.directory / path).read_text(errors="replace") for path in written}
    spec = parse_files(texts)
    if spec.warnings:
        raise Conflict(
            f"generation {candidate.number} cannot be read: {'; '.join(spec.warnings)}",
            hint="choose another generation",
        )
    return spec


def _check_flags(gateway: Gateway, spec: GatewaySpec) -> None:
    """Requests for a routed bucket fail when its flag names a pool that nginx does not have."""
    known = {pool_alias(pool.name) for pool in spec.pools}
    kept = {vhost.server_name for vhost in spec.vhosts}
    for vhost, bucket, flag in gateway.flags.list():
        missing = {flag.pool_alias, flag.target_alias or flag.pool_alias} - known
        if vhost in kept and missing:
            raise Conflict(
                f"bucket {bucket!r} of vhost {vhost!r} is routed to pool {missing.pop()!r}, which "
                "that generation does not have",
                hint="route the bucket to another pool first, or choose a newer generation",
            )
