"""Jobs for the tests. What they did is one line a step in the file ``evidence``."""

import asyncio
import time
from pathlib import Path

from holdfast.kernel import process
from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.registry import EndedJob, job, on_job_end, step
from holdfast.kernel.work import Work


def note(evidence: str, line: str) -> None:
    with Path(evidence).open("a") as file:
        file.write(line + "\n")


def exists(path: str) -> bool:
    return Path(path).exists()


def count(evidence: str, word: str) -> int:
    return Path(evidence).read_text().count(word)


async def wait_for_file(path: str) -> None:
    while not exists(path):
        await asyncio.sleep(0.02)


@step("sample.prepare")
async def prepare(ctx: JobContext, evidence: str) -> int:
    note(evidence, f"prepare {ctx.job_id}")
    return 42


@step("sample.run_child")
async def run_child(ctx: JobContext, evidence: str, go: str) -> None:
    """Runs a program until the file ``go`` is there."""
    note(evidence, f"child {ctx.job_id}")
    script = f'echo pid $$; while [ ! -e "{go}" ]; do sleep 0.05; done'
    await process.run(
        ["sh", "-c", script], timeout_seconds=120, on_line=lambda line: note(evidence, line)
    )


@step("sample.verify")
async def verify(ctx: JobContext, evidence: str, answer: int) -> None:
    note(evidence, f"verify {ctx.job_id} {answer}")
    ctx.progress(3, 3, unit="steps", text="all verified")


@job("sample.copy")
async def copy(ctx: JobContext, evidence: str, go: str) -> None:
    answer = await prepare(ctx, evidence)
    await run_child(ctx, evidence, go)
    await verify(ctx, evidence, answer)


@step("sample.hold")
async def hold_step(ctx: JobContext, evidence: str, name: str, go: str) -> None:
    note(evidence, f"begin {name}")
    ctx.log(f"{name} holds")
    await wait_for_file(go)
    note(evidence, f"end {name}")


@job("sample.hold")
async def hold(ctx: JobContext, evidence: str, name: str, go: str) -> None:
    await hold_step(ctx, evidence, name, go)


@step("sample.flaky", attempts=3, backoff_seconds=0.01)
async def flaky_step(ctx: JobContext, evidence: str, *, failures: int, retryable: bool) -> None:
    note(evidence, "flaky")
    if count(evidence, "flaky") <= failures:
        raise Unavailable("not yet") if retryable else Conflict("never")


@job("sample.flaky")
async def flaky(ctx: JobContext, evidence: str, failures: int, *, retryable: bool = True) -> None:
    await prepare(ctx, evidence)
    await flaky_step(ctx, evidence, failures=failures, retryable=retryable)
    await verify(ctx, evidence, 0)


@job("sample.polite", cancel_grace_seconds=30)
async def polite(ctx: JobContext, evidence: str) -> None:
    await polite_step(ctx, evidence)


@step("sample.polite")
async def polite_step(ctx: JobContext, evidence: str) -> None:
    note(evidence, "begin")
    while not ctx.cancelled:
        await asyncio.sleep(0.02)
    note(evidence, "undone")
    ctx.give_way()


@step("sample.block")
async def block_step(ctx: JobContext, evidence: str, seconds: float) -> None:
    note(evidence, "blocks")
    time.sleep(seconds)  # noqa: ASYNC251 - what a careless job does
    note(evidence, "blocked")


@job("sample.block")
async def block(ctx: JobContext, evidence: str, seconds: float) -> None:
    await block_step(ctx, evidence, seconds)


@step("sample.stray")
async def stray_step(ctx: JobContext) -> None:
    raise asyncio.CancelledError


@job("sample.stray")
async def stray(ctx: JobContext) -> None:
    await stray_step(ctx)


@job("sample.tick")
async def tick(ctx: JobContext, evidence: str) -> None:
    await tick_step(ctx, evidence)


@step("sample.tick")
async def tick_step(ctx: JobContext, evidence: str) -> None:
    note(evidence, f"tick {ctx.job_id}")


@on_job_end("sample.copy", "sample.hold", "sample.flaky", "sample.polite")
async def remember_end(work: Work, ended: EndedJob) -> None:
    work.audit("ended", "sample", ended.id, after={"state": ended.state, "error": ended.error})
