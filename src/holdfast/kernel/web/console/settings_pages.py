"""Settings: ``/web/settings``; for admins."""

import shlex
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, get_args, get_origin

from fastapi import BackgroundTasks, Request, Response
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.config import PREFIX, SECRET_SETTINGS, LoadedSettings, Settings, shown_settings
from holdfast.kernel.config_file import setting_name
from holdfast.kernel.errors import AppError, Invalid, Unavailable
from holdfast.kernel.restart import Restarter
from holdfast.kernel.services import Services
from holdfast.kernel.settings_change import change_setting, shown_file, waiting_settings
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.registry import Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, ServicesDep, WorkDep, actor_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role, Work

router = Router(include_in_schema=False, dependencies=[ADMIN])
PATH = "/web/settings"
FOUND = 6
SORTS = ("", "name", "value", "origin", "default")
"""Fields of a `SettingLine`; first the order in which they are declared."""
DANGERS = {
    "secret": "What was sealed with the present secret cannot be read with another: "
    "every pool's S3 keys must then be stored anew.",
    "database_url": "The server starts with what that database holds; nothing is moved there.",
    "data_dir": "Nothing is moved: copy the old directory first.",
    "nginx_dir": "Nothing is moved, and nginx's main file includes the old place until it is "
    "changed.",
    "host": "The console is only at the new address then.",
    "port": "The console is only at the new port then.",
}
"""What somebody should know before they change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingLine:
    """A setting as the page shows it."""

    name: str
    value: str
    origin: str
    meaning: str
    default: str
    waiting: str | None
    """Its value after the next start, when that is another."""
    in_file: bool
    movable: bool
    """Whether the file decides it: not when a flag or the environment does."""


class SettingChange(BaseModel):
    """The new value; the setting itself checks it. Empty: the default."""

    value: str = ""


def contribute(services: Services) -> None:
    """Navigation, search, actions, and settings that wait for a restart."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(
            title="Settings", href=PATH, icon="settings", group="System", order=80, role=Role.ADMIN
        )
    )
    parts.actions.append(Hit(title="Restart the server", href=PATH, kind="action", role=Role.ADMIN))
    parts.searchers.append(_find)
    parts.needs.append(_waiting)


@router.get(PATH)
async def list_settings(request: Request, services: ServicesDep) -> Response:
    """Every setting, searched by name and meaning. ``?after=restart``: 204 until it has begun."""
    restarter = services.find(Restarter)
    if request.query_params.get("after") and restarter and restarter.asked:
        return Response(status_code=204)
    asked = listing(request, sorts=SORTS, filters=("origin",))
    problem, lines = _lines(services.loaded)
    words = asked.q.lower().split()
    shown = [
        line
        for line in lines
        if all(word in f"{line.name} {line.meaning}".lower() for word in words)
        and _fits(line, asked.others.get("origin"))
    ]
    if asked.sort:
        shown.sort(key=attrgetter(asked.sort), reverse=asked.descending)
    return await page(
        request,
        "console/settings.html.j2",
        list=asked,
        lines=shown,
        waiting=[line for line in lines if line.waiting is not None],
        problem=problem,
        file=services.loaded.config_file,
        may_restart=restarter is not None,
    )


@router.api_route(PATH + "/{given}/edit", methods=["GET", "POST"])
async def edit_setting(request: Request, services: ServicesDep, given: str) -> Response:
    """A form for one setting; its own validation answers."""
    name = setting_name(given)
    loaded = services.loaded
    line = next(line for line in _lines(loaded)[1] if line.name == name)
    form = Form((_field(name),), {"value": _value_now(loaded, name)})

    async def act(work: Work, body: SettingChange) -> str:
        changed = await change_setting(work, loaded, name, body.value or None)
        return changed.overridden_by or "nobody"

    if request.method == "POST" and (wins := await form.submit(request, SettingChange, act)):
        warning = "" if wins == "nobody" else f"The {wins} says otherwise, and wins."
        told = f"{name} is written. It holds from the next start."
        return see_other(PATH, told=told, warning=warning)
    if form.problem and form.status == Invalid.http_status:
        form.errors, form.problem = {"value": form.problem.message}, None
    return await page(
        request,
        "console/setting_form.html.j2",
        status=form.status,
        form=form,
        line=line,
        danger=DANGERS.get(name, ""),
        secret=name in SECRET_SETTINGS,
    )


@router.post(PATH + "/{given}/reset")
async def reset_setting(work: WorkDep, services: ServicesDep, given: str) -> Response:
    """Take a setting out of the file: the default holds from the next start."""
    changed = await change_setting(work, services.loaded, given, None)
    return see_other(PATH, told=f"{changed.name} is taken out of the file: the default holds next.")


@router.get(PATH + "/restart")
async def after_restart() -> Response:
    """Whoever reloads the page that waited."""
    return see_other(PATH)


@router.post(PATH + "/restart")
async def restart(request: Request, services: ServicesDep, background: BackgroundTasks) -> Response:
    """Begin again with the settings as they are now; the page waits for it."""
    restarter = services.find(Restarter)
    if restarter is None:
        raise Unavailable("This process cannot restart itself", hint="restart it by its manager")
    waiting_settings(services.loaded)  # what cannot be read would keep it from starting
    async with services.database.write(actor_of(request)) as work:
        work.audit("restart", "server", None)
    answer = await page(request, "console/restarting.html.j2")
    background.add_task(restarter.ask)
    answer.background = background
    return answer


def _fits(line: SettingLine, wanted: str | None) -> bool:
    return {
        "changed": line.origin != "default" or line.waiting is not None,
        "default": line.origin == "default",
        "waiting": line.waiting is not None,
    }.get(wanted or "", True)


def _lines(loaded: LoadedSettings) -> tuple[AppError | None, list[SettingLine]]:
    problem: AppError | None = None
    waiting: dict[str, Any] = {}
    in_file: dict[str, Any] = {}
    try:
        waiting, in_file = waiting_settings(loaded), shown_file(loaded)
    except AppError as error:
        problem = error
    values = shown_settings(loaded)
    return problem, [_line(loaded, n, values, waiting, in_file) for n in Settings.model_fields]


def _line(
    loaded: LoadedSettings,
    name: str,
    values: dict[str, Any],
    waiting: dict[str, Any],
    in_file: dict[str, Any],
) -> SettingLine:
    origin, field = loaded.origins.get(name, "default"), Settings.model_fields[name]
    return SettingLine(
        name=name,
        value=_words(values[name]),
        origin="file" if origin == str(loaded.config_file) else origin,
        meaning=field.description or "",
        default=_default(name),
        waiting=_words(waiting[name]) if name in waiting else None,
        in_file=name in in_file,
        movable=origin in {"default", str(loaded.config_file)},
    )


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default is PydanticUndefined:
        return "of this user" if field.default_factory else ""
    value = field.default
    return _words(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _words(value: object) -> str:
    match value:
        case None:
            return ""
        case list() | tuple():
            return shlex.join(str(word) for word in value)
        case _:
            return str(value)


def _value_now(loaded: LoadedSettings, name: str) -> str:
    """What the form begins with: the file's value, else the one in force; never a secret."""
    if name in SECRET_SETTINGS:
        return ""
    try:
        in_file = shown_file(loaded)
    except AppError:
        in_file = {}
    return _words(in_file.get(name, shown_settings(loaded)[name]))


def _field(name: str) -> Field:
    info = Settings.model_fields[name]
    kind, attributes = "text", {"autocomplete": "off", "spellcheck": "false"}
    options: tuple[tuple[str, str], ...] = ()
    if name in SECRET_SETTINGS:
        kind, attributes = "password", {"autocomplete": "new-password"}
    elif get_origin(info.annotation) is Literal:
        kind, options = "select", tuple((word, word) for word in get_args(info.annotation))
        attributes = {}
    elif info.annotation in (int, float):
        kind, attributes = "number", {"step": "1" if info.annotation is int else "any"}
        for rule in info.metadata:
            for word, bound in (("min", "ge"), ("max", "le")):
                if hasattr(rule, bound):
                    attributes[word] = str(getattr(rule, bound))
    return Field(
        name="value",
        label=name,
        kind=kind,  # type: ignore[arg-type] # one of the words above
        help=info.description or "",
        options=options,
        required=kind != "text",
        attributes=attributes,
        option="-",
    )


async def _find(_: Services, __: AsyncSession, words: str) -> list[Hit]:
    wanted = words.lower().removeprefix(PREFIX.lower()).split()
    return [
        Hit(
            title=name,
            href=f"{PATH}/{name}/edit",
            kind="setting",
            detail=field.description or "",
            role=Role.ADMIN,
        )
        for name, field in Settings.model_fields.items()
        if all(word in f"{name} {field.description}".lower() for word in wanted)
    ][:FOUND]


async def _waiting(services: Services, _: AsyncSession) -> list[Need]:
    try:
        names = waiting_settings(services.loaded)
    except AppError as error:
        title = "The settings file cannot be read: the next start would fail"
        return [
            Need(
                title=title,
                detail=error.message,
                href=PATH,
                action="Look",
                level="bad",
                role=Role.ADMIN,
            )
        ]
    if not names:
        return []
    detail = f"Written, and not in force yet: {', '.join(sorted(names))}."
    return [
        Need(
            title="Settings wait for a restart",
            detail=detail,
            href=PATH,
            action="See settings",
            role=Role.ADMIN,
        )
    ]
