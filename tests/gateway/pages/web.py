"""The gateway's pages in this process, asked by httpx as each role, on the room's database."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from html import unescape
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import event

import holdfast.gateway.api
import holdfast.gateway.pages
import holdfast.kernel.identity.api
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from tests.gateway.room import KEY

ROLES = ("viewer", "operator", "admin")
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL)


class Web:
    """Clients of one console, one for each role."""

    def __init__(self, services: Services, clients: dict[str, httpx.AsyncClient]) -> None:
        self.services, self.clients = services, clients

    async def get(self, path: str, *, who: str = "admin", status: int = 200) -> str:
        """A page's text, with this status."""
        answer = await self.clients[who].get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def post(
        self, path: str, /, *, who: str = "admin", status: int = 303, **fields: Any
    ) -> httpx.Response:
        """Send a form, insist on the status."""
        form = fields or {"": ""}
        answer = await self.clients[who].post(path, data=form)
        assert answer.status_code == status, answer.text
        return answer

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements that are sent to the database meanwhile."""
        found: list[str] = []

        def keep(*said: Any) -> None:
            found.append(said[2])

        engine = self.services.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", keep)
        try:
            yield found
        finally:
            event.remove(engine, "before_cursor_execute", keep)


def words(page: str) -> str:
    """What a person reads of a page, on one line."""
    return " ".join(unescape(_TAGS.sub(" ", page)).split())


def column(page: str, number: int) -> list[str]:
    """The words of one cell of each row of the page's first table."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in body.split("<tr>")[1:]]
    return [words(cells[number]) for cells in rows]


@asynccontextmanager
async def open_web(services: Services) -> AsyncIterator[Web]:
    """The pages over these services, with a token for each role."""
    holdfast.gateway.pages.contribute(services)
    routers = [
        holdfast.kernel.identity.api.router,
        *holdfast.gateway.api.routers,
        *holdfast.gateway.pages.routers,
    ]
    app = build_app(services, routers, _nothing_beside)
    transport = httpx.ASGITransport(app=app)
    key = {"Authorization": f"Bearer {KEY}"}
    clients = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://web", headers=key) as owner:
        for role in ROLES:
            made = await owner.post("/api/tokens", json={"name": role, "role": role})
            headers = {"Authorization": f"Bearer {made.json()['token']}", "Accept": "text/html"}
            clients[role] = httpx.AsyncClient(
                transport=transport, base_url="http://web", headers=headers
            )
    yield Web(services, clients)
    for client in clients.values():
        await client.aclose()


@asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield
