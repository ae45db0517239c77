"""The buckets that can be moved away from a pool, when its server does not tell them."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from holdfast.kernel.errors import Unavailable
from holdfast.migrations.service import reading
from tests.gateway.room import open_room
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, nanio_server

pytestmark = pytest.mark.real


async def test_a_server_that_is_frozen_is_told_in_words(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "holdfast.db"
    shutil.copy(sqlite_template, path)
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.3)
    async with (
        open_room(f"sqlite+aiosqlite:///{path}", tmp_path, running=False) as room,
        nanio_server(tmp_path / "s3") as server,
    ):
        pool = await room.pool("frozen", server.address)
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        assert (await room.call("PUT", f"/pools/{pool}/credentials", keys)).status_code == 200
        assert await reading.source_buckets(room.services, pool) == []
        os.kill(server.child.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="no answer within"):
                await reading.source_buckets(room.services, pool)
        finally:
            os.kill(server.child.pid, signal.SIGCONT)
