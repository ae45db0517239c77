"""The console's pages over a room of the gateway: what a browser without scripts would do."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from urllib.parse import unquote

import httpx
from fastapi import FastAPI

import holdfast.gateway.api
import holdfast.gateway.pages
import holdfast.migrations.api
import holdfast.migrations.pages
import holdfast.migrations.service
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.console.render import FLASH
from tests.gateway.room import KEY

HTML = "text/html,application/xhtml+xml"


class Pages:
    """One person's browser."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200) -> str:
        """A page's HTML."""
        answer = await self.client.get(path)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.text

    async def post(self, to: str, /, status: int = 303, **fields: str) -> httpx.Response:
        """Send a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self.client.post(to, data=fields, headers=kind)
        assert answer.status_code == status, f"{to}: {answer.status_code} {answer.text[:2000]}"
        return answer


def told(answer: httpx.Response) -> str:
    """What the next page will tell, with its warning."""
    return unquote(answer.cookies.get(FLASH) or "")


def words(html: str) -> str:
    """The text of a page's main part, each run of blanks as one."""
    main = html.partition("<main")[2].partition(">")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


@asynccontextmanager
async def pages_of(services: Services, token: str = KEY) -> AsyncIterator[Pages]:
    """A browser that shows this token."""
    app = services.find(_App)
    if app is None:
        holdfast.migrations.service.build_migrations(services)
        holdfast.gateway.pages.contribute(services)
        holdfast.migrations.pages.contribute(services)
        routers = [
            *holdfast.gateway.api.routers,
            *holdfast.gateway.pages.routers,
            *holdfast.migrations.api.routers,
            *holdfast.migrations.pages.routers,
        ]
        app = services.add(_App(build_app(services, routers, _nothing_beside)))
    transport = httpx.ASGITransport(app=app.app)
    headers = {"Authorization": f"Bearer {token}", "Accept": HTML}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://console", headers=headers
    ) as client:
        yield Pages(client)


class _App:
    def __init__(self, app: FastAPI) -> None:
        self.app = app


@asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield
