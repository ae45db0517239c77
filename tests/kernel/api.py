"""An application of the kernel's own routers, called without a socket."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.identity import api as identity_api
from holdfast.kernel.identity import pages as identity_pages
from holdfast.kernel.identity import service, session_api
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.web import doctor_api, system_api
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import SYSTEM, Role

API_KEY = "the operator's own key"


def services_for(database: Database, data_dir: Path, **settings: object) -> Services:
    """Services of these settings."""
    data_dir.mkdir(parents=True, exist_ok=True)
    given = Settings(
        **{
            "data_dir": data_dir,
            "database_url": SecretStr(database.url),
            "api_key": SecretStr(API_KEY),
            **settings,
        }  # type: ignore[arg-type]
    )
    loaded = LoadedSettings(given, {}, data_dir / "config.toml")
    return Services(loaded, database, Sealer("a secret for tests"))


def app_of(services: Services, *more: Router) -> FastAPI:
    """The application with the kernel's routers."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    identity_pages.contribute(services)
    own = (identity_api.router, session_api.router, *identity_pages.routers)
    routers = [system_api.router, doctor_api.router, *own, *more]
    return build_app(services, routers, lifespan)


def client_of(services: Services, token: str = API_KEY, *more: Router) -> httpx.AsyncClient:
    """A client with a token; ``""``: without one."""
    transport = httpx.ASGITransport(app_of(services, *more), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://holdfast", headers=headers)


async def a_token(services: Services, role: Role, name: str = "somebody") -> str:
    """The text of a new token."""
    async with services.database.write(SYSTEM) as work:
        _, text = await service.create_token(work, name=name, role=role)
    return text
