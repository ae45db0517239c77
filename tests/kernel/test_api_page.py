"""The reference page: for everybody, complete, and made of nothing but itself."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from holdfast.kernel.config import load_settings
from holdfast.kernel.services import build_services
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.system_api import router


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc"])
async def test_the_page_names_every_call_and_loads_nothing(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(tmp_path))
    services = build_services(load_settings())
    odd = Router()

    @odd.get("/api/odd", description="<script>alert(1)</script>")
    async def call() -> None: ...

    app = build_app(services, [router, odd], nothing)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as client:
        answer = await client.get(path)
    await services.database.close()
    assert answer.status_code == 200
    for name in app.openapi()["paths"]:
        assert f"<code>{name}</code>" in answer.text
    assert "<script" not in answer.text
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
