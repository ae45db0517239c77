"""Requests a second through our nginx configuration, against a hand-written one."""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.bare_nginx import running_nginx
from benchmarks.nanio_disk import write_objects
from benchmarks.result import Result, compared, tell
from benchmarks.stage import OBJECT, bucket_with_object, post, presigned, start_move, wait_for
from holdfast.demo.fleet import OLD, VHOST, Fleet, running_fleet
from holdfast.kernel.process import find_program

ROUNDS = 16
SECONDS = 2
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
    nginx: Path
    """Where the process id of its nginx stands."""
    target: str = "/"
    script: Path | None = None


@dataclass(slots=True)
class Rounds:
    """What came of it, round after round."""

    rates: list[float] = field(default_factory=list)
    cpu_microseconds: list[float] = field(default_factory=list)
    """Of nginx, a request: unlike the rate it hardly depends on what else the machine does."""


async def run(directory: Path) -> list[Result]:
    """GET and PUT of 4 KiB, and GET while the bucket is being moved."""
    async with running_fleet(directory) as fleet, fleet.api() as api:
        await bucket_with_object(fleet, OLD, BUCKET, MOVING)
        large = fleet.directory / OLD / MOVING
        await asyncio.to_thread(write_objects, large, iter(["large"]), bytes(LARGE_BYTES))
        async with running_nginx(fleet, [VHOST]) as bare:
            ways = ((fleet.gateway_port, directory), (bare.port, bare.root))
            gets = [Load(p, root, _get(fleet, p, BUCKET)) for p, root in ways]
            found = {"GET": await _alternate(gets)}
            found["PUT"] = await _alternate([_put(fleet, p, root) for p, root in ways])
            migration = await _start_slow_move(api)
            moving = [Load(p, root, _get(fleet, p, MOVING)) for p, root in ways]
            found["GET while the bucket moves,"] = await _alternate(moving)
            await _stop(api, migration)
    return [line for what, pair in found.items() for line in _results(what, *pair)]


def _results(what: str, ours: Rounds, hand: Rounds) -> list[Result]:
    cpu = f"{what} CPU time of nginx a request"
    return [
        compared(
            f"{what} 4 KiB through nginx",
            ours.rates,
            hand.rates,
            reach=REACH,
            unit="requests/s",
            at_least=True,
        ),
        compared(cpu, ours.cpu_microseconds, hand.cpu_microseconds, reach=None, unit="us"),
    ]


def _get(fleet: Fleet, port: int, bucket: str) -> str:
    return presigned(fleet, f"127.0.0.1:{port}", bucket)


def _put(fleet: Fleet, port: int, nginx: Path) -> Load:
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
    return Load(port, nginx, script=script)


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


async def _alternate(loads: Sequence[Load]) -> tuple[Rounds, Rounds]:
    """Ours and the hand-written one in turns."""
    found = (Rounds(), Rounds())
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            before = _cpu_seconds(loads[which].nginx)
            rate = await _wrk(loads[which])
            used = _cpu_seconds(loads[which].nginx) - before
            found[which].rates.append(rate)
            found[which].cpu_microseconds.append(used / (rate * SECONDS) * 1e6)
    rates = zip(found[0].rates, found[1].rates, strict=True)
    tell(" ".join(f"{ours:.0f}/{hand:.0f}" for ours, hand in rates))
    return found


def _cpu_seconds(nginx: Path) -> float:
    """What the workers of this nginx have used so far."""
    master = (nginx / "nginx.pid").read_text().strip()
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    ticks = 0
    for pid in workers:
        values = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
