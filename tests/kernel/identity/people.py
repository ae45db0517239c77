"""People with passwords, and browsers to log them in with."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from holdfast.kernel.identity import service
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import client_of

PASSWORD = "correct horse battery"
PAGE = {"Accept": "text/html,application/xhtml+xml"}


async def a_user(services: Services, name: str = "ann", role: Role = Role.OPERATOR) -> None:
    """A user with `PASSWORD`."""
    async with services.database.write(SYSTEM) as work:
        await service.create_user(work, name=name, role=role, password=PASSWORD)


def browser(services: Services) -> httpx.AsyncClient:
    """A client that keeps cookies and has no token."""
    return client_of(services, "")


async def log_in(
    client: httpx.AsyncClient, name: str = "ann", password: str = PASSWORD, **fields: str
) -> httpx.Response:
    """Send the form of the login page."""
    form = {"name": name, "password": password, **fields}
    return await client.post("/login", data=form, headers=PAGE)


@contextlib.asynccontextmanager
async def logged_in(
    services: Services, name: str = "ann", role: Role = Role.OPERATOR
) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of a new user who has logged in."""
    await a_user(services, name, role)
    async with browser(services) as client:
        assert (await log_in(client, name)).status_code == 303
        yield client


async def whoami(client: httpx.AsyncClient) -> Any:
    """Who the server says it is, else the status."""
    answer = await client.get("/api/whoami")
    return answer.json() if answer.status_code == 200 else answer.status_code
