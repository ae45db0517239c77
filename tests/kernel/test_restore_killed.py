"""A restore that is killed at any line of it is whole after the next start, and never half."""

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from holdfast.kernel import backup_restore
from holdfast.kernel.backup import create_backup
from holdfast.kernel.backup_restore import finish_interrupted_restore, restore_backup
from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from tests.kernel.api import services_for
from tests.kernel.test_backup import lay_out, note, notes

pytestmark = pytest.mark.real


def restore_until_killed(services: Services, archive: Path, lines: int) -> bool:
    """Restore in a process of its own that is killed after so many lines; whether it was."""
    pid = os.fork()
    if pid == 0:
        left = lines

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename != backup_restore.__file__:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        threading.settrace(trace)
        try:
            asyncio.run(restore_backup(services.loaded, archive, with_nginx=True))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - a child of pytest must not go on as pytest
            os.write(2, repr(error).encode())
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


def prepared(url: str, home: Path) -> tuple[Services, Path]:
    """A machine that has gone on since its backup, and the backup."""
    services = services_for(Database(url), home / "data", nginx_dir=home / "nginx")

    async def make() -> Path:
        root = services.settings.nginx_root
        lay_out(root, "000001", "old")
        await note(services, "before")
        path = (await create_backup(services)).path
        lay_out(root, "000002", "new")
        await note(services, "after")
        await services.database.close()
        return path

    return services, asyncio.run(make())


def check_whole(services: Services, url: str) -> None:
    root, data = services.settings.nginx_root, services.settings.data_dir
    flags = root / "routes" / "example.org" / "photos"
    assert str((root / "live").readlink()) == "generations/000001"
    assert (root / "live" / "pools" / "a.conf").read_text() == "upstream old {}\n"
    assert [path.name for path in flags.glob("e1*")] == ["e1.static.old"]
    assert [
        path.name for path in root.rglob("*") if path.name.endswith(("restored", "replaced"))
    ] == []
    assert asyncio.run(notes(url)) == ["before"]
    (aside,) = data.glob("replaced-*")
    replaced = aside / "nginx" / "routes" / "example.org" / "photos"
    assert {path.name for path in replaced.glob("e1*")} == {"e1.static.old", "e1.static.new"}
    assert not (data / backup_restore.JOURNAL).exists()


def test_a_restore_killed_at_any_line_is_finished_by_the_next_start(
    sqlite_template: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    shutil.copy(sqlite_template, home / "data" / "holdfast.sqlite")
    url = f"sqlite+aiosqlite:///{home}/data/holdfast.sqlite"
    services, archive = prepared(url, home)
    shutil.copytree(home, tmp_path / "before", symlinks=True)
    lines, killed = 0, True
    while killed:
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "before", home, symlinks=True)
        killed = restore_until_killed(services, archive, lines)
        link = services.settings.nginx_root / "live"
        assert (link / "pools" / "a.conf").is_file(), f"nothing is live after line {lines}"
        done = asyncio.run(finish_interrupted_restore(services.loaded))
        if killed and done is None and asyncio.run(notes(url)) == ["after", "before"]:
            asyncio.run(restore_backup(services.loaded, archive, with_nginx=True))
        check_whole(services, url)
        lines += 1
    assert lines > 50, "it was killed at fewer lines than there are"
