"""Where a pull's files lie until each gets its place: a folder of the job at the tier's root.

Nobody else may enter it, so what writes there follows no symlink of others and replaces nothing.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import select

from holdfast.kernel.jobs.model import UNFINISHED
from holdfast.kernel.jobs.tables import JobRow
from holdfast.tiers.holding import PRIVATE, folder, opened_root, private_folder
from holdfast.tiers.inheriting import hand_on_nothing
from holdfast.tiers.model import STAGING
from holdfast.tiers.running import Run, in_threads

MAKE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Staging:
    """Descriptors that are open: of the tier's root, and of the job's folder."""

    root: int
    own: int
    way: str
    """The job's folder as another program of ours finds it, whatever is renamed on the way."""


@contextmanager
def staging(root: bytes, job_id: str) -> Iterator[Staging]:
    """The folder of a job, made when it is not there. Raises ``Unavailable``, ``Conflict``."""
    with ExitStack() as stack:
        opened = stack.enter_context(opened_root(root))
        all_jobs, own = _enter(stack, opened, job_id)
        yield Staging(opened, own, f"/proc/{os.getpid()}/fd/{all_jobs}/{job_id}")


def _enter(stack: ExitStack, root: int, job_id: str) -> tuple[int, int]:
    """Another pull that ends may remove the folder of all under us: then it is made again."""
    for tries_left in reversed(range(MAKE_TRIES)):
        with ExitStack() as one:
            try:
                all_jobs = one.enter_context(private_folder(root, STAGING, make=True))
                own = one.enter_context(folder(all_jobs, job_id.encode(), make=PRIVATE))
            except FileNotFoundError:
                if tries_left:
                    continue
                raise
            hand_on_nothing(own)
            stack.enter_context(one.pop_all())
            return all_jobs, own
    raise AssertionError("it was returned or raised")


async def clear(run: Run) -> None:
    """Remove what a pull has left in its folder."""
    await in_threads([lambda _: _remove(run.tier.root, [run.ctx.job_id])])


async def sweep(run: Run) -> None:
    """Remove what jobs left that are over."""
    (jobs,) = await in_threads([lambda _: _jobs(run.tier.root)])
    if jobs:
        living = select(JobRow.id).where(JobRow.state.in_(UNFINISHED), JobRow.id.in_(jobs))
        async with run.ctx.read() as session:
            kept = {*await session.scalars(living), run.ctx.job_id}
        gone = [job_id for job_id in jobs if job_id not in kept]
        await in_threads([lambda _: _remove(run.tier.root, gone)])


def _jobs(root: bytes) -> list[str]:
    with suppress(FileNotFoundError), opened_root(root) as tree:
        with private_folder(tree, STAGING, make=False) as all_jobs:
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=all_jobs)
        try:
            with os.scandir(opened) as entries:
                return [entry.name for entry in entries]
        finally:
            os.close(opened)
    return []


def _remove(root: bytes, jobs: Iterable[str]) -> None:
    with suppress(FileNotFoundError), opened_root(root) as tree:
        with private_folder(tree, STAGING, make=False) as all_jobs:
            for job_id in jobs:
                shutil.rmtree(job_id, ignore_errors=True, dir_fd=all_jobs)
        with suppress(OSError):  # another pull has its folder there
            os.rmdir(STAGING, dir_fd=tree)
