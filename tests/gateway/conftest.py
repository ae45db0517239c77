"""Rooms of the gateway."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.echo import echo_server
from tests.gateway.room import Room, open_room
from tests.gateway.scene import Scene, open_scene


@pytest.fixture
async def room(database_url: str, tmp_path: Path) -> AsyncIterator[Room]:
    """The gateway's API with a real nginx, on each database."""
    async with open_room(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def quick_room(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Room]:
    """The same on SQLite alone, for what does not depend on the database."""
    path = tmp_path / "holdfast.db"
    shutil.copy(sqlite_template, path)
    async with open_room(f"sqlite+aiosqlite:///{path}", tmp_path) as opened:
        yield opened


@pytest.fixture
async def echo_one() -> AsyncIterator[str]:
    """The address of a server that answers with its name and the request line."""
    async with echo_server("one") as address:
        yield address


@pytest.fixture
async def echo_two() -> AsyncIterator[str]:
    """A second one."""
    async with echo_server("two") as address:
        yield address


@pytest.fixture
async def scene(room: Room, tmp_path: Path) -> AsyncIterator[Scene]:
    """A vhost over two S3 servers, on each database."""
    async with open_scene(room, tmp_path) as opened:
        yield opened


@pytest.fixture
async def quick_scene(quick_room: Room, tmp_path: Path) -> AsyncIterator[Scene]:
    """The same on SQLite alone."""
    async with open_scene(quick_room, tmp_path) as opened:
        yield opened
