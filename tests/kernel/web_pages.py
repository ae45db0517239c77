"""Pages of any part in this process, asked by httpx as each role."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from holdfast.kernel.services import Services
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role
from tests.gateway.pages.web import Web
from tests.kernel.api import a_token, app_of


@asynccontextmanager
async def open_pages(services: Services, *routers: Router) -> AsyncIterator[Web]:
    """These pages, with a token for each role."""
    transport = httpx.ASGITransport(app_of(services, *routers))
    clients = {}
    for role in Role:
        name = role.name.lower()
        token = await a_token(services, role, name)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
        clients[name] = httpx.AsyncClient(
            transport=transport, base_url="http://web", headers=headers
        )
    yield Web(services, clients)
    for client in clients.values():
        await client.aclose()
