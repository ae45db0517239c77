"""Requests a second through our nginx configuration, against a hand-written one."""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.bare_nginx import running_nginx
from benchmarks.nanio_disk import write_objects
from benchmarks.result import Result, compared, tell
from benchmarks.stage import OBJECT, bucket_with_object, post, presigned, start_move, wait_for
from holdfast.demo.fleet import OLD, VHOST, Fleet, running_fleet
from holdfast.kernel.process import find_program

ROUNDS = 12
SECONDS = 3
CONNECTIONS = 16
REACH = 0.97
BUCKET, MOVING = "steady", "moving"
PUT_KEYS = 500
LARGE_BYTES = 64 * 1024 * 1024
COPY_BANDWIDTH = "10K"
"""So slow that the copy itself takes nothing from the server: the configuration is measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk sends."""

    port: int
    target: str = "/"
    script: Path | None = None


async def run(directory: Path) -> list[Result]:
    """GET and PUT of 4 KiB, and GET while the bucket is being moved."""
    async with running_fleet(directory) as fleet, fleet.api() as api:
        await bucket_with_object(fleet, OLD, BUCKET, MOVING)
        large = fleet.directory / OLD / MOVING
        await asyncio.to_thread(write_objects, large, iter(["large"]), bytes(LARGE_BYTES))
        async with running_nginx(fleet, [VHOST]) as bare:
            ports = (fleet.gateway_port, bare.port)
            gets = await _alternate([Load(p, _get(fleet, p, BUCKET)) for p in ports])
            puts = await _alternate([_put(fleet, p) for p in ports])
            migration = await _start_slow_move(api)
            moving = await _alternate([Load(p, _get(fleet, p, MOVING)) for p in ports])
            await _stop(api, migration)
    unit = "requests/s"
    return [
        compared(what, ours, hand, reach=REACH, unit=unit, at_least=True)
        for what, (ours, hand) in (
            ("GET of 4 KiB through nginx", gets),
            ("PUT of 4 KiB through nginx", puts),
            ("GET of 4 KiB while the bucket moves", moving),
        )
    ]


def _get(fleet: Fleet, port: int, bucket: str) -> str:
    return presigned(fleet, f"127.0.0.1:{port}", bucket)


def _put(fleet: Fleet, port: int) -> Load:
    """Each request another key: the server cannot take two writes of one key at once."""
    keys = (f"{OBJECT}-{number}" for number in range(PUT_KEYS))
    targets = [presigned(fleet, f"127.0.0.1:{port}", BUCKET, key, method="PUT") for key in keys]
    script = fleet.directory / f"put-{port}.lua"
    script.write_text(
        "local targets = {\n" + "".join(f'  "{target}",\n' for target in targets) + "}\n"
        'local number, body = 0, string.rep("x", 4096)\n'
        "request = function()\n"
        "  number = number % #targets + 1\n"
        '  return wrk.format("PUT", targets[number], nil, body)\n'
        "end\n"
    )
    return Load(port, script=script)


async def _start_slow_move(api: httpx.AsyncClient) -> int:
    migration = await start_move(api, MOVING, bandwidth_limit=COPY_BANDWIDTH)
    number: int = migration["id"]
    now = await wait_for(api, number, {"copying"})
    if now["phase"] != "copying":
        raise RuntimeError(f"the move is {now['phase']}: {now['error_msg']}")
    return number


async def _stop(api: httpx.AsyncClient, migration: int) -> None:
    await post(api, f"/api/migrations/{migration}/cancel", {})
    await wait_for(api, migration, {"cancelled"})


async def _alternate(loads: Sequence[Load]) -> tuple[list[float], list[float]]:
    """Requests a second of ours and of the hand-written one, in turns."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            found[which].append(await _wrk(loads[which]))
    tell(" ".join(f"{a:.0f}/{b:.0f}" for a, b in zip(*found, strict=True)))
    return found


async def _wrk(load: Load) -> float:
    words = [find_program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s"]
    words += ["-s", str(load.script)] if load.script else []
    url = f"http://127.0.0.1:{load.port}{load.target}"
    child = await asyncio.create_subprocess_exec(*words, url, stdout=subprocess.PIPE)
    said = (await child.communicate())[0].decode()
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if failed or not rate:
        raise RuntimeError(f"wrk: {said}")
    return float(rate[1])
