"""The running nginx from outside: its master, its workers, the generation that answers."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

_MASTER = "nginx: master process"
WORKER = "nginx: worker process"
"""The title of a worker that takes requests; one that is shutting down has another."""
_ANSWER_SECONDS = 2.0
_POLL_SECONDS = 0.002
_NAMED_SECONDS = 1.0
"""A worker that was just forked bears its master's name until it runs: a while on a busy machine;
a master that replaces another one (USR2) is a child of that name, too, and keeps it."""


def find_master(pid_file: Path | None) -> int | None:
    """The process id of the master that the pid file names; None when it does not run."""
    if pid_file is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if _title(pid).startswith(_MASTER):
            return pid
    return None


def master_of(worker: int) -> int | None:
    """The parent of a worker that answered; None when this machine's process table lacks it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        parent = int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if _title(parent).startswith(_MASTER):
            return parent
    return None


def children(master: int) -> dict[int, str]:
    """Process id and title of each child, but for those that have died."""
    try:
        pids = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    except OSError:
        return {}
    titles = {int(pid): _title(int(pid)) for pid in pids}
    return {pid: title for pid, title in titles.items() if title}


def serving_workers(master: int) -> frozenset[int]:
    """Workers that still take new requests: not those that are shutting down."""
    return frozenset(pid for pid, title in children(master).items() if title == WORKER)


async def workers_before_a_reload(master: int) -> frozenset[int]:
    """All workers that a reload has to replace, those that were just forked among them."""
    ends = time.monotonic() + _NAMED_SECONDS
    while time.monotonic() < ends:
        if not any(title.startswith(_MASTER) for title in children(master).values()):
            break
        await asyncio.sleep(_POLL_SECONDS)
    return serving_workers(master)


def signal_reload(master: int) -> bool:
    """Ask the master to read its files again; False when we may not."""
    try:
        os.kill(master, signal.SIGHUP)
    except PermissionError:
        return False
    return True


def retire_succeeded(master: int, before: frozenset[int]) -> frozenset[int]:
    """Ask the workers of ``before`` to finish and leave, once each of them has a successor.

    A master does so itself, 100 ms after it started the successors (``ngx_msleep(100)`` in nginx's
    src/os/unix/ngx_process_cycle.c). Gives those of ``before`` that still take new requests.
    """
    serving = serving_workers(master)
    old = before & serving
    if len(serving - old) < len(old):
        return old
    for worker in old:
        with contextlib.suppress(OSError):  # gone already, or not ours to signal
            _quit(master, worker)
    return old & serving_workers(master)


def _quit(master: int, worker: int) -> None:
    handle = os.pidfd_open(worker)
    try:
        if worker in serving_workers(master):  # the number may be another process by now
            signal.pidfd_send_signal(handle, signal.SIGQUIT)
    finally:
        os.close(handle)


async def loaded_generation(port: int) -> tuple[int, int] | None:
    """``(generation, worker's process id)`` as nginx's control server says; None: no answer."""
    body = await control_get(port, "/generation")
    with contextlib.suppress(ValueError):
        generation, pid = (body or "").split()
        return int(generation), int(pid)
    return None


async def control_get(port: int, path: str) -> str | None:
    """The body of a 200 from nginx's control server; None for anything else."""
    status, body = await control_status(port, path)
    return body if status == 200 else None  # noqa: PLR2004 - HTTP


async def control_status(port: int, path: str) -> tuple[int, str]:
    """Status and body from nginx's control server; status 0 when nobody answers there."""
    with contextlib.suppress(OSError, ValueError, IndexError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                request = f"GET {path} HTTP/1.0\r\nHost: holdfast-control\r\n\r\n"
                writer.write(request.encode("ascii"))
                answer = (await reader.read()).decode("latin-1")
            finally:
                writer.close()
            head, _, body = answer.partition("\r\n\r\n")
            return int(head.split()[1]), body
    return 0, ""


def _title(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()
