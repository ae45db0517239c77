"""A page: its template, and what every page shows."""

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined, select_autoescape

from holdfast import __version__
from holdfast.kernel.errors import AppError
from holdfast.kernel.identity.model import local_path
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.services import Services
from holdfast.kernel.web.console import diffs, formats
from holdfast.kernel.web.console.registry import ConsoleParts, console_parts
from holdfast.kernel.web.deps import reading, services_of
from holdfast.kernel.work import Actor, Role

STATIC = Path(__file__).parent / "static"
FLASH = "holdfast_flash"
THEME = "holdfast_theme"
PAGES = ("/web/", "/setup/")
"""Beginnings of addresses that people see."""
COSTLY = ("check", "count", "sizes")
"""Questions of an address that ask other servers: once, not at each event."""
_FLASH_SECONDS = 30
_JOBS_SHOWN = 20


async def page(
    request: Request,
    template: str,
    /,
    *,
    status: int = 200,
    alone: bool = False,
    **values: object,
) -> Response:
    """The page, whole, with the frame around it; ``alone``: with nothing around it."""
    services = services_of(request)
    actor: Actor | None = None if alone else getattr(request.state, "actor", None)
    running, unfinished = await _running_jobs(request) if actor else ([], 0)
    parts = console_parts(services)
    text = _environment(services).get_template(template).render(
        request=request,
        path=request.url.path,
        actor=actor,
        can=lambda role: actor is not None and actor.role >= Role[role.upper()],
        nav=_nav(parts, actor),
        running=running,
        unfinished=unfinished,
        topics=" ".join(parts.topics),
        known_until=getattr(request.state, "known_until", None),
        still=any(request.query_params.get(name) for name in COSTLY),
        flash=_flash(request),
        theme=_theme(request),
        **values,
    )  # fmt: skip
    answer = HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})
    if request.cookies.get(FLASH):
        answer.delete_cookie(FLASH, path="/")
    return answer


def see_other(path: str, *, told: str = "", warning: str = "") -> Response:
    """Go to ``path`` and tell there once what was done."""
    answer = RedirectResponse(path, status_code=303)
    if told or warning:
        value = quote(json.dumps({"told": told, "warning": warning[:1000]}))
        answer.set_cookie(
            FLASH, value, max_age=_FLASH_SECONDS, path="/", httponly=True, samesite="lax"
        )
    return answer


async def error_page(request: Request, error: AppError, *, alone: bool = False) -> Response:
    """What went wrong, and what to do, as a page; ``alone``: without asking the database."""
    answer = await page(
        request,
        "console/error.html.j2",
        status=error.http_status,
        alone=alone,
        error=error,
        back=came_from(request),
    )
    if request.method not in {"GET", "HEAD"}:
        answer.headers["HX-Push-Url"] = "false"  # nobody can go to an address that only takes forms
    return answer


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, not a client of the API."""
    path = str(request.scope["path"])  # not of the URL, which begins with what the Host header says
    if path.startswith("/api"):
        return False
    # A page's script, htmx, takes anything and shows it.
    asked = "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers
    return asked or path in {"/", "/login"} or path.startswith(PAGES)


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the file."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _environment(services: Services) -> Environment:
    return _templates_of(tuple(sorted(console_parts(services).templates.items())))


@cache  # templates are compiled once, whatever number of applications a process has
def _templates_of(slices: tuple[tuple[str, str], ...]) -> Environment:
    packages = {"console": "holdfast.kernel.web.console", **dict(slices)}
    environment = Environment(
        loader=PrefixLoader({prefix: PackageLoader(name) for prefix, name in packages.items()}),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("size", "count", "duration", "moment", "clock", "tone"):
        environment.filters[name] = getattr(formats, name)
    environment.filters.update(diff_lines=diffs.diff_lines, diff_sides=diffs.diff_sides)
    environment.filters["sh"] = formats.shell_word
    environment.globals.update(asset=asset, percent=formats.percent, version=__version__)
    return environment


async def _running_jobs(request: Request) -> tuple[list[jobs.JobView], int]:
    async with reading(request) as session:
        return await jobs.jobs_under_way(session, _JOBS_SHOWN)


def _nav(parts: ConsoleParts, actor: Actor | None) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in sorted(parts.nav, key=lambda item: item.order):
        if actor is not None and actor.role >= item.role:
            groups.setdefault(item.group, []).append(item)
    return groups


def came_from(request: Request) -> str:
    """The path of our own page on which somebody clicked; empty when none is known."""
    came = urlsplit(request.headers.get("referer", ""))
    if came.netloc.lower() != request.headers.get("host", "").lower():
        return ""
    path = local_path(f"{came.path}?{came.query}" if came.query else came.path)
    return "" if path in {"/", str(request.scope["path"])} else path


def _flash(request: Request) -> Mapping[str, str]:
    try:
        found = json.loads(unquote(request.cookies.get(FLASH, "")))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _theme(request: Request) -> str:
    wanted = request.cookies.get(THEME, "")
    return wanted if wanted in {"dark", "light"} else ""
