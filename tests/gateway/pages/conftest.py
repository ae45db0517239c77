"""The gateway's pages over a room."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.pages.web import Web, open_web
from tests.gateway.room import Room


@pytest.fixture
async def web(quick_room: Room) -> AsyncIterator[Web]:
    """The pages of ``quick_room``, for each role."""
    async with open_web(quick_room.services) as opened:
        yield opened


@pytest.fixture
async def web_of_each(room: Room) -> AsyncIterator[Web]:
    """The pages of ``room``, on each database."""
    async with open_web(room.services) as opened:
        yield opened
