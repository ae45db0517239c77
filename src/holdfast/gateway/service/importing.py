"""Takes over an installation of nanio-orchestrator into an empty Holdfast."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.render_model import PoolSpec, RouteSpec
from holdfast.gateway.service import reading
from holdfast.gateway.service.adopt import adopt, adopt_flags
from holdfast.gateway.service.older import Older, read_older
from holdfast.gateway.service.rebuild import has_data, keep_ids
from holdfast.gateway.tables import BucketRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, Conflict, Invalid
from holdfast.kernel.work import Work

_KEYS = ("access_key_enc", "secret_key_enc")


@dataclass(slots=True)
class Imported:
    """What was taken over."""

    pools: int = 0
    members: int = 0
    vhosts: int = 0
    routes: int = 0
    credentials: int = 0
    ignored_buckets: int = 0
    migrations: int = 0
    warnings: list[str] = field(default_factory=list)


async def import_older(
    work: Work, gateway: Gateway, *, nginx_dir: Path, database: Path | None, secret: str
) -> Imported:
    """Import its pools, vhosts, routes, credentials and ended migrations; publish them.

    ``secret`` is the one that its credentials are sealed with; without it they are left out.
    Raises ``Conflict`` when there are pools or vhosts already or a migration had not ended,
    ``Invalid`` naming everything that cannot be taken over as it is, ``NginxRefused``.
    """
    session = work.session
    if await has_data(session):
        raise Conflict(
            "Database already contains data: an import begins with an empty Holdfast",
            hint="import into a data directory of its own",
        )
    older = read_older(nginx_dir, database)
    if older.moving:
        raise Conflict(
            f"a migration is under way: {'; '.join(older.moving)}",
            hint="let it end, or cancel it, in nanio-orchestrator; then import again",
        )
    result = Imported(warnings=older.warnings)
    sealed = _reseal(gateway, older, secret, result)
    pools = tuple(dataclasses.replace(p, credentials=sealed.get(p.name)) for p in older.spec.pools)
    spec = dataclasses.replace(older.spec, pools=pools)
    _check(spec.pools, older)
    await keep_ids(session, spec)
    await adopt(session, spec)
    routes = {
        vhost.server_name: [route for route in vhost.routes if route.is_plain_bucket]
        for vhost in spec.vhosts
    }
    await adopt_flags(session, routes)
    await _buckets(session, older, routes, result)
    await _migrations(work, gateway, database, result)
    result.pools, result.vhosts = len(spec.pools), len(spec.vhosts)
    result.members = sum(len(pool.members) for pool in spec.pools)
    result.routes = sum(len(vhost.routes) for vhost in spec.vhosts)
    names = [vhost.server_name for vhost in spec.vhosts]
    mark_changed(
        work, gateway, pools=[pool.name for pool in spec.pools], vhosts=names, flags_of=names
    )
    work.audit("import", "config", None, after=dataclasses.asdict(result))
    work.emit("gateway", "config.adopted", {"differences": result.pools + result.vhosts})
    return result


def _check(pools: tuple[PoolSpec, ...], older: Older) -> None:
    """Everything that we would not accept by the API, all at once."""
    known = {pool.name for pool in pools}
    problems: list[str] = []
    for pool in pools:
        with _collected(f"pool {pool.name!r}", problems):
            reading.check_pool_spec(pool)
    for vhost in older.spec.vhosts:
        what = f"vhost {vhost.server_name!r}"
        with _collected(what, problems):
            reading.check_vhost_spec(vhost)
        used = {vhost.default_pool, *(route.pool for route in vhost.routes)} - {None, ""}
        problems += [f"{what}: there is no pool {name!r}" for name in used - known]
    if problems:
        raise Invalid(
            f"{len(problems)} things cannot be taken over as they are: {'; '.join(problems[:5])}",
            hint="mend them in the older tool, then import again",
            details=problems,
        )


@contextlib.contextmanager
def _collected(what: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except AppError as error:
        problems.append(f"{what}: {error.message}")


def _reseal(
    gateway: Gateway, older: Older, secret: str, result: Imported
) -> dict[str, Mapping[str, str | None]]:
    """Credentials under our own seal."""
    if older.credentials and not secret:
        names = ", ".join(sorted(older.credentials))
        result.warnings.append(
            f"credentials of {names}: left out; give NANIO_ORCHESTRATOR_SECRET, or set them again"
        )
        return {}
    found: dict[str, Mapping[str, str | None]] = {}
    for name, row in older.credentials.items():
        try:
            theirs = Fernet(secret.encode())
            keys = [theirs.decrypt(row[key].encode()).decode() for key in _KEYS]
        except (InvalidToken, ValueError, KeyError, AttributeError):
            result.warnings.append(f"credentials of pool {name!r}: sealed with another secret")
            continue
        found[name] = {
            **{key: gateway.sealer.seal(text) for key, text in zip(_KEYS, keys, strict=True)},
            "endpoint_url": row.get("endpoint_url"),
            "region": row.get("region") or "us-east-1",
        }
    result.credentials = len(found)
    return found


async def _buckets(
    session: AsyncSession,
    older: Older,
    routes: Mapping[str, list[RouteSpec]],
    result: Imported,
) -> None:
    """Only what somebody said of a bucket: the rest is discovered again."""
    ids = {row.server_name: row.id for row in await session.scalars(select(VhostRow))}
    routed = {(vhost, route.bucket) for vhost, specs in routes.items() for route in specs}
    for vhost, bucket, status in older.buckets:
        if status == "ignored" and vhost in ids and (vhost, bucket) not in routed:
            session.add(
                BucketRow(vhost_id=ids[vhost], name=bucket, status=status, discovered_at=now())
            )
            result.ignored_buckets += 1
    await session.flush()


async def _migrations(
    work: Work, gateway: Gateway, database: Path | None, result: Imported
) -> None:
    port = gateway.ports.migrations
    if port is None or database is None:
        return
    folder = database.parent / "migrations"
    restored = await port.restore(work, folder=folder, only_ended=True)
    result.migrations = restored.completed
    result.warnings += restored.warnings
