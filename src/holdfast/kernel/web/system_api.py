"""What the server says about itself: health, readiness, who changed what, figures, live events."""

import asyncio
import tempfile
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from holdfast import __version__
from holdfast.kernel.audit import AUDIT_SORTS, AuditRow, audit_page
from holdfast.kernel.clock import parse_time, row_time
from holdfast.kernel.contributors import contributors
from holdfast.kernel.db import Database, newest_revision
from holdfast.kernel.errors import AppError, Invalid, Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.web import live, metrics
from holdfast.kernel.web.deps import ReadDep, ServicesDep, sort_query
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.security import caller_of

router = Router(tags=["system"])
DATABASE_SECONDS = 5.0
"""How long health and readiness wait for the database."""
LARGEST_PAGE = 200
LARGEST_NUMBER = 2**31 - 1


class Health(BaseModel):
    """Whether this process lives, and what it is."""

    status: str
    version: str
    dev_mode: bool
    db_ok: bool
    nginx_config_dir: str
    drift_alerts: int


class AuditOut(BaseModel):
    """One change."""

    id: int
    actor: str
    action: str
    entity_type: str
    entity_id: str | int | None
    before_json: str | None
    after_json: str | None
    nginx_reload_ok: bool | None
    nginx_reload_output: str | None
    created_at: str | None


class Ready(BaseModel):
    """That requests can be served."""

    status: str
    checks: dict[str, str]


@router.get("/api/health")
async def health(services: ServicesDep) -> Health:
    """Liveness: answers 200 as long as the process does; ``degraded`` without a database."""
    db_ok = await database_problem(services.database) is None
    alerts = sum([await count() for count in contributors(services).drift_alerts]) if db_ok else 0
    return Health(
        status="ok" if db_ok else "degraded",
        version=__version__,
        dev_mode=False,
        db_ok=db_ok,
        nginx_config_dir=str(services.settings.nginx_root),
        drift_alerts=alerts,
    )


@router.get("/api/ready")
async def ready(services: ServicesDep) -> Ready:
    """Readiness: database, schema, data directory, what slices need; 503 names what is missing."""
    checks = {name: problem or "ok" for name, problem in (await readiness(services)).items()}
    broken = [name for name, problem in checks.items() if problem != "ok"]
    if broken:
        raise Unavailable(
            f"not ready: {', '.join(broken)}", hint="holdfast doctor", details={"checks": checks}
        )
    return Ready(status="ok", checks=checks)


@router.get("/api/audit")
async def audit(  # noqa: PLR0913 - the ways to narrow a list, by name
    session: ReadDep,
    response: Response,
    *,
    page: Annotated[int, Query(ge=1, le=LARGEST_NUMBER)] = 1,
    per_page: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    entity_type: str | None = None,
    entity_id: str | None = None,
    from_: Annotated[str | None, Query(alias="from")] = None,
    to: str | None = None,
    sort: Annotated[str, sort_query(AUDIT_SORTS)] = "-created",
) -> list[AuditOut]:
    """Changes, newest first."""
    rows, total = await audit_page(
        session,
        limit=per_page,
        offset=(page - 1) * per_page,
        entity_type=entity_type,
        entity_id=entity_id,
        start=_moment(from_, "from"),
        end=_end_of(_moment(to, "to")),
        sort=sort,
    )
    response.headers["X-Total-Count"] = str(total)
    return [audit_out(row) for row in rows]


@router.get("/metrics", response_class=Response)
async def prometheus(services: ServicesDep, session: ReadDep) -> Response:
    """Figures for Prometheus."""
    return Response(await metrics.exposition(services, session), media_type=metrics.CONTENT_TYPE)


@router.get("/api/events", response_class=Response)
async def events(
    request: Request,
    services: ServicesDep,
    topics: Annotated[str, Query(description="names with commas between; empty: all")] = "",
    after: Annotated[
        str, Query(description="begin after the event with this id; empty: with the next one")
    ] = "",
) -> Response:
    """What happens, as it happens, as server-sent events; ``Last-Event-ID`` goes on from there."""
    wanted = tuple(topic.strip() for topic in topics.split(",") if topic.strip())

    async def is_welcome() -> bool:
        return await caller_of(request) is not None

    last = request.headers.get("last-event-id", "") or after
    return await live.event_stream(services, wanted, last, is_welcome)


async def database_problem(database: Database) -> str | None:
    """Why the database does not answer; ``None`` when it does."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS), database.read() as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return type(error).__name__
    return None


async def readiness(services: Services) -> dict[str, str | None]:
    """Every part that requests need, with what is wrong with it."""
    database = services.database
    problems = {"database": await database_problem(database)}
    problems["schema"] = problems["database"] or await schema_problem(database)
    problems["data_dir"] = await asyncio.to_thread(write_problem, str(services.settings.data_dir))
    for name, check in contributors(services).readiness.items():
        try:
            await check()
            problems[name] = None
        except AppError as error:
            problems[name] = error.message
    return problems


async def schema_problem(database: Database) -> str | None:
    """Why the schema is not the one that this version needs; ``None`` when it is."""
    newest = newest_revision()
    try:
        async with database.read() as session:
            found = await session.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError:
        return "there is no schema yet"
    return None if found == newest else f"the schema is at {found}, this version needs {newest}"


def write_problem(directory: str) -> str | None:
    """Why nothing can be written there; ``None`` when it can."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"holdfast")
            file.flush()
    except OSError as error:
        return f"{directory}: {error.strerror}"
    return None


def audit_out(row: AuditRow) -> AuditOut:
    """A change as it is shown; ids of rows are numbers again."""
    number = row.entity_id is not None and row.entity_id.isdecimal()
    shown: dict[str, Any] = {name: getattr(row, name) for name in AuditOut.model_fields}
    shown["entity_id"] = int(row.entity_id) if number and row.entity_id else row.entity_id
    shown["created_at"] = row_time(row.created_at)
    return AuditOut(**shown)


def _end_of(moment: datetime | None) -> datetime | None:
    """Times are told in whole seconds, so a whole second that is named is meant to its end."""
    return moment.replace(microsecond=moment.microsecond or 999_999) if moment else None


def _moment(given: str | None, name: str) -> datetime | None:
    try:
        return parse_time(given)
    except (ValueError, OverflowError):
        raise Invalid(
            f"{name}: {given!r} is no moment", hint="use 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None
