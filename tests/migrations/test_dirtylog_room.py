"""Room for the dirty log: a full disk between two looks loses no line that nobody knows of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.migrations.dirtylog import Dirty, DirtyLog
from holdfast.migrations.dirtylog_room import FULL, RESERVED_BYTES, Room
from tests.migrations.test_dirtylog import PLACE, a_line
from tests.servers.disks import fill, small_disk

pytestmark = pytest.mark.real


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "log", size_mib=48):
        path = tmp_path / "log" / "dirty.log"
        path.touch()
        yield path


def write(path: Path, *lines: bytes) -> None:
    """As nginx does: append, and take no notice of a failure."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        for line in lines:
            os.write(file, line)
    except OSError:
        pass
    finally:
        os.close(file)


async def following(path: Path) -> tuple[DirtyLog, Dirty]:
    log = DirtyLog(path)
    dirty = await log.follow([PLACE])
    await log.read()
    return log, dirty


async def test_lines_find_room_on_a_disk_that_fills_up(path: Path) -> None:
    log, dirty = await following(path)
    make_room = fill(path.parent)
    write(path, a_line("/photos/written"))
    make_room()
    await log.read()
    assert (dirty.keys, dirty.owed) == ({"written"}, "")


async def test_the_log_is_no_longer_for_the_room_behind_it(path: Path) -> None:
    await following(path)
    assert path.stat().st_size == 0


async def test_a_full_disk_owes_a_full_pass_until_there_is_room(path: Path) -> None:
    log, dirty = await following(path)
    make_room = fill(path.parent)
    write(path, a_line("/photos/k"))
    await log.read()
    assert log.full
    assert dirty.owed == FULL
    make_room()
    await log.read()
    assert not log.full
    assert dirty.owed == FULL


async def test_more_lines_than_there_was_room_for_owe_a_full_pass(path: Path) -> None:
    log, dirty = await following(path)
    long = a_line("/photos/long", rb="x" * 1_000_000)
    write(path, *([long] * (RESERVED_BYTES // len(long) + 1)))
    await log.read()
    assert "set aside" in dirty.owed


@pytest.mark.parametrize(("free_bytes", "reason"), [(1000, FULL), (2**40, "")])
def test_where_no_room_can_be_set_aside_the_free_space_is_looked_at(
    path: Path, free_bytes: int, reason: str
) -> None:
    with path.open("rb") as read_only:
        assert Room(read_only.fileno(), lambda: free_bytes).look(0) == reason
