"""The API without a server: the same routes, called in this process, on this machine's data."""

import asyncio
import contextlib
import dataclasses
import importlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from holdfast.client.http import HoldfastClient
from holdfast.kernel.config import LoadedSettings, load_settings
from holdfast.kernel.jobs.lease import data_directory_held
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app

ADDRESS = "http://offline"


def offline_client(on_warning: Any = None) -> HoldfastClient:  # noqa: ANN401 - handed on
    """A client whose calls are answered here; whoever may read and write the data may make them."""
    key = secrets.token_urlsafe(32)
    loaded = load_settings()
    settings = loaded.settings.model_copy(
        update={"api_key": SecretStr(key), "log_level": "warning"}
    )
    transport = _InThisProcess(dataclasses.replace(loaded, settings=settings))
    return HoldfastClient(ADDRESS, key, on_warning=on_warning, transport=transport)


class _InThisProcess(httpx.BaseTransport):
    def __init__(self, loaded: LoadedSettings) -> None:
        self._loaded = loaded

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        assembly = importlib.import_module("holdfast.assembly")  # above this package
        services = assembly.assemble(self._loaded)
        changes = request.method not in {"GET", "HEAD"} and services.database.is_sqlite
        try:
            with data_directory_held(self._loaded.settings.data_dir, wanted=changes):
                return await self._call(services, assembly, request)
        finally:
            await services.database.close()

    async def _call(
        self,
        services: Services,
        assembly: Any,  # noqa: ANN401 - a module
        request: httpx.Request,
    ) -> httpx.Response:
        await services.database.upgrade()
        app = build_app(services, assembly.routers(), _nothing_beside)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.request(
                request.method, request.url, headers=request.headers, content=request.read()
            )
        answer.headers.pop("content-encoding", None)  # what was packed is unpacked here
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@contextlib.asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield
