"""The rclone daemon: its secrets, its death, its jobs."""

import asyncio
import os
import secrets
import signal
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.contributors import Verdict
from holdfast.kernel.errors import AppError, Invalid
from holdfast.kernel.process import Child
from holdfast.kernel.stores import rclone_daemon
from holdfast.kernel.stores.doctor import rclone_findings
from holdfast.kernel.stores.memory import MemoryStore
from holdfast.kernel.stores.rclone import RcloneStore
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, RcloneDied
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.kernel.stores.transfer import copy
from holdfast.tiers.listing import list_remote
from tests.servers.sftp import SftpServer, sftp_server

pytestmark = pytest.mark.real

MEGABYTE = 1_000_000
LIMIT_SECONDS = 30.0


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[RcloneDaemon]:
    async with RcloneDaemon(tmp_path / "daemon") as made:
        yield made


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SftpServer]:
    async with sftp_server(tmp_path / "server") as made:
        yield made


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def a_directory(daemon: RcloneDaemon, root: Path) -> RcloneStore:
    root.mkdir()
    return await RcloneStore.connect(daemon, Remote("local", {}, str(root)))


async def kill(daemon: RcloneDaemon) -> int:
    pid = daemon.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT_SECONDS):
        while daemon.pid == pid:
            await asyncio.sleep(0.01)
    return pid


async def running_job(daemon: RcloneDaemon, tmp_path: Path) -> asyncio.Task[object]:
    """A copy that would take a minute, on its way."""
    source = await a_directory(daemon, tmp_path / "source")
    target = await a_directory(daemon, tmp_path / "target")
    await source.write("big", chunks(secrets.token_bytes(6 * MEGABYTE)))
    task: asyncio.Task[object] = asyncio.create_task(
        copy(source, "big", target, "big", bytes_per_second=MEGABYTE // 10)
    )
    async with asyncio.timeout(LIMIT_SECONDS):
        while not (await daemon.call("job/list", {}))["runningIds"]:
            await asyncio.sleep(0.01)
    return task


def everything_said_by_processes() -> str:
    words = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words.append((entry / "cmdline").read_bytes().decode("utf-8", "replace"))
            except OSError:
                continue
    return "\n".join(words)


async def test_the_socket_lies_where_only_we_may_enter(daemon: RcloneDaemon) -> None:
    await daemon.call("rc/noop", {})
    assert stat.S_IMODE(daemon.directory.stat().st_mode) == 0o700


async def test_a_stale_socket_is_no_hindrance(tmp_path: Path) -> None:
    directory = tmp_path / "daemon"
    directory.mkdir()
    (directory / "rclone.sock").touch()
    async with RcloneDaemon(directory) as daemon:
        assert await daemon.call("rc/noop", {}) == {}


async def test_a_directory_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="too long"):
        RcloneDaemon(tmp_path / ("d" * 100))


async def test_a_killed_daemon_is_started_again_and_knows_the_remotes(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    await store.write("file", chunks(b"hello"))
    first = await kill(daemon)
    assert (await store.stat("file")).size_bytes == 5
    assert daemon.pid not in {None, first}


async def test_a_dead_daemon_is_started_again_though_its_end_is_not_known_yet(
    daemon: RcloneDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system closes its sockets first, and tells of its end when all its threads are gone."""
    await daemon.call("rc/noop", {})
    dead = await kill(daemon)
    monkeypatch.setattr(Child, "returncode", None)
    with pytest.raises(RcloneDied):
        await daemon.call("rc/noop", {})
    assert await daemon.call("rc/noop", {}) == {}
    assert daemon.pid not in {None, dead}


async def test_one_that_is_slow_to_say_that_it_is_there_is_neither_waited_for_nor_started_again(
    daemon: RcloneDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    slow = daemon.pid
    assert slow is not None
    monkeypatch.setattr(rclone_daemon, "ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(daemon, "_is_doubtful", True)
    os.kill(slow, signal.SIGSTOP)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await daemon._ready()
    finally:
        os.kill(slow, signal.SIGCONT)
    await store.write("file", chunks(b"hello"))
    assert daemon.pid == slow


async def test_a_job_of_a_killed_daemon_fails_clearly(daemon: RcloneDaemon, tmp_path: Path) -> None:
    task = await running_job(daemon, tmp_path)
    await kill(daemon)
    with pytest.raises(RcloneDied):
        await asyncio.wait_for(task, LIMIT_SECONDS)


async def test_a_write_fails_clearly_when_the_daemon_dies_in_its_middle(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    store = await a_directory(daemon, tmp_path / "root")

    async def content() -> AsyncIterator[bytes]:
        yield b"x" * MEGABYTE
        await kill(daemon)
        for _ in range(20):
            yield b"x" * MEGABYTE

    with pytest.raises(RcloneDied):
        await asyncio.wait_for(store.write("file", content()), LIMIT_SECONDS)
    assert [entry async for entry in store.list()] == []


async def test_a_job_is_not_mistaken_for_one_of_the_next_daemon(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    task = await running_job(daemon, tmp_path)
    await kill(daemon)
    for _ in range(30):  # so that the next daemon has a job of the same number
        await daemon.call("rc/noop", {})
    with pytest.raises(RcloneDied, match="ended"):
        await asyncio.wait_for(task, LIMIT_SECONDS)


async def test_a_cancelled_job_is_stopped(daemon: RcloneDaemon, tmp_path: Path) -> None:
    task = await running_job(daemon, tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(LIMIT_SECONDS):
        while len((await daemon.call("job/list", {}))["runningIds"]) > 1:  # the question itself
            await asyncio.sleep(0.01)
    assert not (tmp_path / "target" / "big").exists()


async def test_a_job_keeps_to_its_bandwidth_and_tells_how_far_it_is(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    source = await a_directory(daemon, tmp_path / "source")
    target = await a_directory(daemon, tmp_path / "target")
    await source.write("file", chunks(secrets.token_bytes(3 * MEGABYTE)))
    seen: list[int] = []
    begun = time.monotonic()
    names = {"srcRemote": "file", "dstRemote": "file"}
    await daemon.job(
        "operations/copyfile",
        {"srcFs": source._remote.fs, "dstFs": target._remote.fs, **names},
        bytes_per_second=MEGABYTE,
        on_progress=seen.append,
    )
    assert time.monotonic() - begun > 1.5
    assert seen == sorted(seen)
    assert seen[-1] == 3 * MEGABYTE
    assert any(0 < each < 3 * MEGABYTE for each in seen)


async def test_rclone_forgets_the_figures_of_a_job_that_is_over(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    await store.write("file", chunks(b"hello"))
    await copy(store, "file", store, "copy")
    groups = (await daemon.call("core/group-list", {}))["groups"] or []
    assert not [group for group in groups if group.startswith("holdfast-")]


async def test_a_failed_job_says_why(daemon: RcloneDaemon, tmp_path: Path) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    names = {"srcRemote": "absent", "dstRemote": "copy"}
    with pytest.raises(RcloneFailed, match="no such file"):
        await daemon.job(
            "operations/copyfile", {"srcFs": store._remote.fs, "dstFs": store._remote.fs, **names}
        )


async def test_a_listing_that_is_not_whole_fails(daemon: RcloneDaemon, tmp_path: Path) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    (tmp_path / "root").rmdir()
    with pytest.raises(RcloneFailed, match="not whole"):
        [entry async for entry in store.list()]


async def test_a_forgotten_remote_is_in_its_memory_no_more(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    store = await a_directory(daemon, tmp_path / "root")
    remote = store._remote
    await daemon.call("rc/noop", {}, remotes=(remote,))
    assert remote.name in await daemon.call("config/dump", {})
    daemon.forget(remote)
    assert remote.name not in await daemon.call("config/dump", {})
    await store.write("file", chunks(b"hello"))  # who still holds it makes it known again
    assert (tmp_path / "root" / "file").read_bytes() == b"hello"


async def test_what_a_server_answered_is_told_to_nobody(
    daemon: RcloneDaemon, tmp_path: Path
) -> None:
    words = b"<e:error xmlns:e='DAV:' xmlns:s='s'><s:message>inner secrets</s:message></e:error>"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: {len(words)}\r\n\r\n"
        writer.write(head.encode() + words)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    remote = Remote("webdav", {"url": f"http://127.0.0.1:{port}/", "vendor": "other"}, "sub")
    async with server:
        with pytest.raises(RcloneFailed) as called:
            await daemon.call("operations/list", {"fs": remote.fs, "remote": ""}, remotes=(remote,))
        with pytest.raises(RcloneFailed) as listed:
            await list_remote(daemon, remote, b"", tmp_path / "listing")
    for error in (called.value, listed.value):
        assert "inner secrets" in error.said
        assert "400" in error.message
        assert "inner secrets" not in f"{error.message} {error.hint} {error.details}"


async def test_a_host_with_another_key_is_not_spoken_to(
    daemon: RcloneDaemon, server: SftpServer, tmp_path: Path
) -> None:
    async with sftp_server(tmp_path / "other") as other:
        impostor = server.options | {"known_hosts_file": str(other.known_hosts)}
        line = other.known_hosts.read_text().replace(str(other.port), str(server.port))
        other.known_hosts.write_text(line)
        with pytest.raises(RcloneFailed, match="key"):
            await RcloneStore.connect(daemon, Remote("sftp", impostor, "files"))


@pytest.mark.parametrize("known", [{}, {"known_hosts_file": "none"}])
def test_sftp_without_known_hosts_is_refused(known: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="keys of its host"):
        Remote("sftp", {"host": "127.0.0.1", **known}, "files")


@pytest.mark.parametrize("option", ["ssh", "server_command", "md5sum_command"])
def test_an_option_that_would_run_a_program_is_refused(option: str) -> None:
    with pytest.raises(Invalid, match="would run a program"):
        Remote("webdav", {option: "touch /tmp/x"}, "")


async def test_an_option_or_kind_that_rclone_does_not_have_is_refused(daemon: RcloneDaemon) -> None:
    with pytest.raises(Invalid, match="no option colour"):
        await RcloneStore.connect(daemon, Remote("local", {"colour": "red"}, "/"))
    with pytest.raises(Invalid, match="no kind of remote"):
        await RcloneStore.connect(daemon, Remote("floppy", {}, "/"))


async def test_secrets_are_in_no_argument_error_or_log(
    daemon: RcloneDaemon, server: SftpServer
) -> None:
    remote = Remote("sftp", server.options, "files")
    store = await RcloneStore.connect(daemon, remote)
    await store.write("file", chunks(b"hello"))
    shown = [repr(remote), store.name]
    async for entry in store.list():
        shown += [entry.path, everything_said_by_processes()]
    wrong = Remote("sftp", server.options | {"port": "1"}, "files")
    with pytest.raises(AppError) as caught:
        await RcloneStore.connect(daemon, wrong)
    shown += [str(caught.value), str(caught.value.body()), *_said(daemon)]
    hidden = [server.password, remote.obscured["pass"], wrong.obscured["pass"]]
    assert all(hidden)
    assert not [text for text in shown for secret in hidden if secret in text]


def test_secrets_are_hidden_in_what_rclone_says() -> None:
    options = {"endpoint": "http://a.example", "secret_access_key": "geheim", "region": "geh"}
    said = Remote("s3", options, "bucket").hide("http://a.example: geheim is wrong in geh")
    assert said == "http://a.example: *** is wrong in geh"


def _said(daemon: RcloneDaemon) -> list[str]:
    assert daemon._child is not None
    lines = list(daemon._child.last_lines)
    assert lines, "rclone said nothing, so nothing was checked"
    return lines


async def test_a_limited_copy_between_other_stores_is_slow_too(tmp_path: Path) -> None:
    source, target = MemoryStore(), MemoryStore()
    await source.write("file", chunks(secrets.token_bytes(MEGABYTE)))
    begun = time.monotonic()
    await copy(source, "file", target, "file", bytes_per_second=MEGABYTE)
    assert time.monotonic() - begun > 0.8


async def test_doctor_tells_of_rclone(tmp_path: Path) -> None:
    (finding,) = await rclone_findings(tmp_path / "daemon")
    assert (finding.verdict, finding.check) == (Verdict.OK, "rclone")
    assert "v1." in finding.detail


async def test_doctor_tells_of_a_daemon_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "daemon").write_text("a file in the way")
    (finding,) = await rclone_findings(tmp_path / "daemon")
    assert finding.verdict is Verdict.WARN
    assert finding.remedy
