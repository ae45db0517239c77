"""The parts that the tests themselves stand on."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from holdfast.kernel.db import Database
from tests.servers.leaks import left_behind

SLEEPER = [sys.executable, "-c", "input()"]


def test_a_free_port_can_be_bound(free_port: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port))
        server.listen()


async def test_a_database_has_the_newest_schema(database: Database) -> None:
    async with database.read() as session:
        revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
        assert revision
        assert await session.scalar(text("SELECT count(*) FROM audit")) == 0


async def test_an_empty_database_can_be_upgraded_twice(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await database.upgrade()
    await database.upgrade()
    async with database.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    await database.close()


def test_a_child_that_is_still_there_is_a_leak(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    try:
        found = left_behind(tmp_path, grace_seconds=0)
    finally:
        child.communicate(b"\n")
    assert any(line.startswith(f"{child.pid} ") for line in found)


def test_an_orphan_that_works_in_the_directory_is_a_leak(tmp_path: Path) -> None:
    parent = "from subprocess import *; print(Popen(['sleep', '60'], stdout=-3, stderr=-3).pid)"
    started = subprocess.run(
        [sys.executable, "-c", parent],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    pid = int(started.stdout)
    try:
        assert any(line.startswith(f"{pid} ") for line in left_behind(tmp_path, grace_seconds=0))
    finally:
        subprocess.run(["kill", str(pid)], check=True)


def test_a_child_that_ended_is_no_leak_even_before_it_is_waited_for(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = left_behind(tmp_path, grace_seconds=0)
    child.wait()
    assert not [line for line in found if line.startswith(f"{child.pid} ")]
