"""What the tests of managed stores share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from holdfast.kernel.audit import AuditRow
from holdfast.kernel.db import Database
from holdfast.kernel.events import EventRow
from holdfast.kernel.services import Services
from holdfast.kernel.stores import api
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.tables import StoreRow
from tests.kernel.api import API_KEY, client_of, services_for

PASSWORD = "correct horse battery"
S3_SECRET = "very-secret-s3-key"


@asynccontextmanager
async def with_hub(database: Database, directory: Path) -> AsyncIterator[Services]:
    """Services with a hub, which is stopped at the end."""
    services = services_for(database, directory / "data")
    build_hub(services)
    yield services
    await services.get(RcloneHub).stop()


def calls(services: Services, token: str = API_KEY) -> httpx.AsyncClient:
    """A client of the API with stores in it."""
    return client_of(services, token, api.router)


def an_s3_store(name: str = "cold", **changes: Any) -> dict[str, Any]:
    """The body that makes an S3 store."""
    options = {
        "endpoint": "http://127.0.0.1:9",
        "access_key_id": "AKIA12345678",
        "secret_access_key": S3_SECRET,
        **changes.pop("options", {}),
    }
    return {"name": name, "kind": "s3", "root": "archive/lab", "options": options, **changes}


def a_local_store(root: Path, name: str = "disk") -> dict[str, Any]:
    """The body that makes a store of a directory."""
    return {"name": name, "kind": "local", "root": str(root)}


async def all_that_is_told(services: Services) -> str:
    """Every word of rows, audit and events."""
    async with services.database.read() as session:
        stores = (await session.scalars(select(StoreRow))).all()
        audits = (await session.scalars(select(AuditRow))).all()
        events = (await session.scalars(select(EventRow))).all()
    parts = [f"{row.root} {row.options} {row.secrets_enc} {row.host_keys}" for row in stores]
    parts += [f"{row.action} {row.before_json} {row.after_json}" for row in audits]
    return "\n".join([*parts, *(f"{row.kind} {row.data}" for row in events)])


async def audited_actions(services: Services) -> list[str]:
    """The actions on stores, oldest first."""
    async with services.database.read() as session:
        query = select(AuditRow).where(AuditRow.entity_type == "store").order_by(AuditRow.id)
        return [row.action for row in (await session.scalars(query)).all()]


async def told_events(services: Services) -> list[str]:
    """The kinds of events on the topic, oldest first."""
    async with services.database.read() as session:
        query = select(EventRow).where(EventRow.topic == "store").order_by(EventRow.id)
        return [row.kind for row in (await session.scalars(query)).all()]
