"""When a token was last used is told, and costs no request anything."""

import asyncio
from datetime import timedelta
from pathlib import Path

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.identity.tables import TokenRow, tokens
from holdfast.kernel.identity.uses import TokenUses
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import a_token, client_of, services_for


async def the_token(database: Database) -> TokenRow:
    async with database.read() as session:
        (row,) = await tokens(session)
    return row


async def used(database: Database) -> TokenRow:
    async with asyncio.timeout(20):
        while not (row := await the_token(database)).last_used_at:
            await asyncio.sleep(0.01)
    return row


async def test_the_use_of_a_token_is_shown(database: Database, tmp_path: Path) -> None:
    services = services_for(database, tmp_path / "data")
    token = await a_token(services, Role.ADMIN)
    assert (await the_token(database)).last_used_at is None
    async with client_of(services, token) as client:
        assert (await client.get("/api/whoami")).status_code == 200
        await used(database)
        assert (await client.get("/api/tokens")).json()[0]["last_used_at"]


async def test_a_request_does_not_wait_for_a_writer(database: Database, tmp_path: Path) -> None:
    services = services_for(database, tmp_path / "data")
    token = await a_token(services, Role.VIEWER)
    async with client_of(services, token) as client:
        async with database.write(SYSTEM) as work, asyncio.timeout(10):
            row = await work.session.get(TokenRow, 1, with_for_update=True)
            assert row is not None
            assert (await client.get("/api/whoami")).status_code == 200
        await used(database)


async def test_a_use_is_written_once_a_minute(database: Database, tmp_path: Path) -> None:
    services = services_for(database, tmp_path / "data")
    await a_token(services, Role.VIEWER)
    row = await the_token(database)
    uses = TokenUses(database)
    uses.note(row.id, now() - timedelta(seconds=30))
    assert (await the_token(database)).last_used_at is None
    uses.note(row.id, None)
    first = (await used(database)).last_used_at
    async with asyncio.timeout(20):
        while database.beside:
            await asyncio.sleep(0.01)
    uses.note(row.id, None)
    assert not database.beside
    assert (await the_token(database)).last_used_at == first
