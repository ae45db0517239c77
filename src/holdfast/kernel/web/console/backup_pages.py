"""Backups: ``/web/backups``; making and checking one is for admins."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.backup import Backup, check_backup, create_backup, kept_backup, list_backups
from holdfast.kernel.backup_archive import Manifest
from holdfast.kernel.clock import now
from holdfast.kernel.config import Settings
from holdfast.kernel.errors import AppError
from holdfast.kernel.identity.tables import UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import duration
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.listing import listing, page_of
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, ServicesDep, actor_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role

router = Router(include_in_schema=False)
PATH = "/web/backups"
STALE = timedelta(days=2)
SORTS: Mapping[str, Callable[[Backup], Any]] = {
    "-created": lambda one: one.created_at,
    "size": lambda one: one.size_bytes,
}
ROUNDS = 3
"""So many missed, and the newest backup is too old whatever the interval."""


class BackupIn(BaseModel):
    """What goes into a backup."""

    with_secrets: bool = False


def contribute(services: Services) -> None:
    """Navigation, actions, and a newest backup that is too old."""
    parts = console_parts(services)
    parts.nav.append(NavItem(title="Backups", href=PATH, icon="backups", group="System", order=84))
    parts.actions.append(
        Hit(title="Back up now", href=f"{PATH}/new", kind="action", role=Role.ADMIN)
    )
    parts.needs.append(_stale)
    parts.figures.append(_figures)


@router.get(PATH)
async def list_page(request: Request, services: ServicesDep) -> Response:
    """The backups of this machine, newest first, and when the next is written."""
    settings, shown = services.settings, listing(request, sorts=SORTS)
    rows, total = page_of(list_backups(settings), shown, SORTS, lambda one: one.name)
    return await page(
        request,
        "console/backups.html.j2",
        list=shown,
        backups=[(one, (now() - one.created_at).total_seconds()) for one in rows],
        total=total,
        schedule=schedule_words(settings),
        directory=settings.backup_root,
        same_disk=_same_disk(settings),
    )


@router.api_route(f"{PATH}/new", methods=["GET", "POST"], dependencies=[ADMIN])
async def new_backup(request: Request, services: ServicesDep) -> Response:
    """Write one now, while the server goes on working."""
    form = Form(
        (
            Field(
                name="with_secrets",
                label="Include the secrets",
                kind="checkbox",
                help="The sealing secret and the secrets of the settings file. Without them a "
                "restore on another machine cannot read the stored S3 keys; with them, whoever has "
                "the file has the keys.",
            ),
        )
    )
    if request.method == "POST":
        body = await form.read(request, BackupIn)
        try:
            if body is not None:
                made = await create_backup(services, with_secrets=body.with_secrets)
                await _note(request, "create", made.name, body.model_dump())
                return see_other(PATH, told=f"{made.name} is written and checked.")
        except AppError as error:
            form.refuse(error)
    return await page(request, "console/backup_form.html.j2", status=form.status, form=form)


@router.get(f"{PATH}/{{name}}", dependencies=[ADMIN])
async def show_backup(request: Request, services: ServicesDep, name: str) -> Response:
    """One backup, and how to restore it."""
    return await _page(request, kept_backup(services.settings, name))


@router.post(f"{PATH}/{{name}}", dependencies=[ADMIN])
async def check(request: Request, services: ServicesDep, name: str) -> Response:
    """Read all of it, as a restore would, and say whether it is whole; nothing is changed."""
    backup = kept_backup(services.settings, name)
    try:
        manifest = await check_backup(backup.path)
    except AppError as error:
        await _note(request, "check", name, {"whole": False, "problem": error.message})
        return await _page(request, backup, problem=error)
    await _note(request, "check", name, {"whole": True})
    return await _page(request, backup, manifest=manifest)


def schedule_words(settings: Settings) -> str:
    """When backups are written, in plain words."""
    seconds = settings.backup_interval_seconds
    if not seconds:
        return "No backup is written by itself."
    kept = settings.backup_rotate
    newest = "the newest one is kept" if kept == 1 else f"the newest {kept} are kept"
    return f"One is written every {duration(seconds)} while a worker runs, and {newest}."


async def _page(
    request: Request,
    backup: Backup,
    *,
    manifest: Manifest | None = None,
    problem: AppError | None = None,
) -> Response:
    return await page(
        request,
        "console/backup.html.j2",
        status=problem.http_status if problem else 200,
        backup=backup,
        age=(now() - backup.created_at).total_seconds(),
        manifest=manifest,
        problem=problem,
    )


async def _note(request: Request, action: str, name: str, after: object) -> None:
    services: Services = request.app.state.services
    async with services.database.write(actor_of(request)) as work:
        work.audit(action, "backup", name, after=after)


def _same_disk(settings: Settings) -> bool:
    """Whether one broken disk takes the data and its backups."""
    return settings.backup_root.exists() and _device(settings.backup_root) == _device(
        settings.data_dir
    )


def _device(path: Path) -> int:
    return path.stat().st_dev


async def _stale(services: Services, session: AsyncSession) -> list[Need]:
    settings = services.settings
    limit = max(STALE, timedelta(seconds=ROUNDS * settings.backup_interval_seconds))
    newest = next(iter(list_backups(settings)), None)
    since = (
        newest.created_at if newest else await session.scalar(select(func.min(UserRow.created_at)))
    )
    if since is None or now() - since < limit:
        return []
    age = duration((now() - since).total_seconds())
    title = f"The newest backup is {age} old" if newest else "There is no backup"
    return [
        Need(
            title=title,
            detail=schedule_words(settings),
            href=f"{PATH}/new",
            action="Back up now",
            role=Role.ADMIN,
        )
    ]


async def _figures(services: Services, _: AsyncSession) -> list[Figure]:
    newest = next(iter(list_backups(services.settings)), None)
    if newest is None:
        return [Figure(title="Newest backup", value="none", href=PATH)]
    age = duration((now() - newest.created_at).total_seconds())
    return [Figure(title="Newest backup", value=age, href=PATH, detail="old")]
