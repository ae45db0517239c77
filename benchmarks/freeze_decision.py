"""What a freeze costs to decide, beside ``find -atime``, and how much memory it takes.

Decided is which files are candidates, and why the others stay, as a run decides it: scan, join with
the store's list, filters and rules. Listing the store is apart, and so is what a run does before it
reads a candidate: one more look at it, and at its grace. Told besides are the scan and the join
alone, and all of it with that look. Memory is measured with it.
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

from benchmarks.memory import sampled
from benchmarks.result import Result, compared, counted, tell
from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.process import start
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.tiers import deciding, planning
from holdfast.tiers.listing import ListingTotals
from holdfast.tiers.merge import Count, join, rests_of, split_records
from holdfast.tiers.model import PathRule, Policy, Tier, TierOptions
from holdfast.tiers.running import Run, tallying
from holdfast.tiers.scan import scan

FILES = 300_000
MANY = 1_000_000
EACH = 100
"""Files of a folder; every second is cold."""
AGE_DAYS = 100
DAY_SECONDS = 86_400
ROUNDS = 7
REACH_CPU = 1.6
REACH_MIB = 120.0
OPTIONS = TierOptions(
    freezable=True,
    age_days=AGE_DAYS,
    filters=("- *.tmp", "- /scratch/**"),
    rules=(
        PathRule(pattern="/pinned/**", policy=Policy.PIN),
        PathRule(pattern="*.bam", policy=Policy.FREEZE_AFTER, age_days=2 * AGE_DAYS),
    ),
)
"""Rules that look at each name, and match none."""
DIGEST = "0123456789abcdef0123456789abcdef"


async def run(directory: Path) -> list[Result]:
    """First the smaller tree, which then grows."""
    root, work = directory / "tree", directory / "work"
    work.mkdir()
    database = Database(f"sqlite+aiosqlite:///{work / 'holdfast.db'}")
    await database.upgrade()
    await database.close()
    await asyncio.to_thread(_grow, root, 0, FILES)
    await asyncio.to_thread(_list, work, FILES)
    tell(f"{FILES} files are there")
    results = await _compared(root, work)
    small = await _highest(root, work)
    await asyncio.to_thread(_grow, root, FILES, MANY)
    await asyncio.to_thread(_list, work, MANY)
    tell(f"{MANY} files are there")
    high = await _highest(root, work)
    against = f"{small:.0f} MiB for {FILES}"
    what = f"memory with its programs, a freeze decided over {MANY} files"
    return [*results, counted(what, high, at_most=REACH_MIB, unit="MiB", against=against)]


async def _compared(root: Path, work: Path) -> list[Result]:
    bare: list[float] = []
    ours: dict[str, list[float]] = {"decided": [], "joined": [], "looked at": []}
    _bare(root)  # from here on the tree is in memory
    async with _a_run(root, work) as run:
        ways = dict(zip(ours, (_decided(run), _joined(run), _looked_at(run)), strict=True))
        for _ in range(ROUNDS):
            bare.append(_bare(root))
            for name, way in ways.items():
                before = _cpu_seconds()
                files = await way()
                ours[name].append(_cpu_seconds() - before)
                if files != FILES // 2:
                    raise RuntimeError(f"{files} files were {name}")
    what = f"freeze decided over {FILES} files, half cold: CPU beside find -atime"
    less, more = "of that its scan and join alone", "the same with a look at each candidate"
    return [
        compared(what, ours["decided"], bare, reach=REACH_CPU, unit="s"),
        compared(less, ours["joined"], bare, reach=None, unit="s"),
        compared(more, ours["looked at"], bare, reach=None, unit="s"),
    ]


Way = Callable[[], Awaitable[int]]


def _decided(run: Run) -> Way:
    async def decide() -> int:
        rules = deciding.Rules(OPTIONS, time.time_ns())
        with tallying(run.report) as tally:
            chosen = await deciding.choose(run, rules, b"", tally, number=0, by_name=False)
        return chosen.files.files

    return decide


def _looked_at(run: Run) -> Way:
    async def look() -> int:
        planner = planning._Planner(run, None, by_name=False)  # noqa: SLF001 - its first part
        with tallying(run.report) as tally:
            return sum([len(block) async for block in planner.blocks([b""], tally)])

    return look


def _joined(run: Run) -> Way:
    async def joined() -> int:
        limit = time.time_ns() - AGE_DAYS * DAY_SECONDS * 1_000_000_000
        to, left = run.work / "cold", run.work / "left"
        left.unlink(missing_ok=True)
        found = await scan(run.tier.root, b"", limit, min_size=0, to=to)
        listing, both = run.work / "listing", run.work / "both"
        totals = await asyncio.to_thread(
            lambda: join(to, listing, of=found.candidates, matched=both, skipped=left)
        )
        return totals.matched.files

    return joined


@asynccontextmanager
async def _a_run(root: Path, work: Path) -> AsyncIterator[Run]:
    """A run whose store was listed before."""

    async def listed(_: Services, __: Place, ___: bytes, to: Path) -> ListingTotals:
        for ours in (Path, rests_of):
            ours(to).unlink(missing_ok=True)
            ours(to).hardlink_to(ours(work / "listing"))
        return ListingTotals(listed=Count(FILES, 0), hash_kind=HashKind.MD5)

    database = Database(f"sqlite+aiosqlite:///{work / 'holdfast.db'}")
    asked = vars(deciding)["list_place"]
    vars(deciding)["list_place"] = listed
    try:
        loaded = LoadedSettings(Settings(data_dir=work), {}, work / "config.toml")
        yield _run(root, work, Services(loaded, database, Sealer("of a benchmark")))
    finally:
        vars(deciding)["list_place"] = asked
        await database.close()


async def _once(root: Path, work: Path) -> None:
    async with _a_run(root, work) as run:
        await _looked_at(run)()


def _run(root: Path, work: Path, services: Services) -> Run:
    ctx = JobContext(
        job_id="job",
        kind="tiers.freeze",
        services=services,
        job_log=JobLog(work / "log"),
        steps=PlainSteps(),
        fence=NoFence(),
    )
    path = os.fsencode(root)
    return Run(
        ctx=ctx,
        tier=Tier(id=1, name="t", root=path, store_id=1, options=OPTIONS),
        places=(Place(name="disk", kind="local", remote=Remote("local", {}, "/"), s3=None),),
        work=work,
        report=work / "report",
    )


async def _highest(root: Path, work: Path) -> float:
    """Of a process that does nothing else, and its programs."""
    samples: list[float] = []
    words = [sys.executable, "-m", "benchmarks.freeze_decision", str(root), str(work)]
    child = await start(words, env={"PYTHONPATH": os.pathsep.join(sys.path)})
    async with child, sampled(child.pid, samples):
        if await child.wait():
            raise child.failure("did not decide")
    return max(samples)


def _bare(root: Path) -> float:
    """CPU seconds of the program that tells no more than what was not read."""
    with subprocess.Popen(
        ["find", str(root), "-atime", f"+{AGE_DAYS}", "-printf", "%p\\n"],
        stdout=(root.parent / "bare").open("wb"),
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    ) as program:
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _cpu_seconds() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _path(number: int) -> tuple[str, str]:
    folder = number // EACH
    return f"project-{folder // 100:03d}/sample-{folder:05d}", f"reads-{number % EACH:04d}.fastq"


def _size(number: int) -> int:
    return 1000 + number * 7919 % 100_000


def _grow(root: Path, first: int, last: int) -> None:
    """Make files, every second one cold; they have lengths and no content."""
    cold = time.time() - 2 * AGE_DAYS * DAY_SECONDS
    for begin in range(first, last, EACH):
        folder = root / _path(begin)[0]
        folder.mkdir(parents=True)
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(begin, begin + EACH):
            file = os.open(_path(number)[1], os.O_CREAT | os.O_WRONLY, dir_fd=at)
            os.ftruncate(file, _size(number))
            if number % 2:
                os.utime(file, (cold, cold))
            os.close(file)
        os.close(at)


def _list(work: Path, count: int) -> None:
    """As a store would tell it that has everything; made in the order of its keys."""
    raw = work / "raw"
    with raw.open("w") as file:
        file.writelines(_records(count))
    split_records(raw, work / "listing")
    tell(f"listing: {rests_of(work / 'listing').stat().st_size} bytes besides the keys")
    raw.unlink()


def _records(count: int) -> Iterator[str]:
    for number, digest in zip(range(count), repeat(DIGEST), strict=False):
        folder, name = _path(number)
        yield f"{folder}/{name}//{_size(number)}//:{digest}  \0"


if __name__ == "__main__":
    asyncio.run(_once(Path(sys.argv[1]), Path(sys.argv[2])))
