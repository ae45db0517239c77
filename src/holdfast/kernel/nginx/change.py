"""Take a candidate live, or leave everything as it was."""

import asyncio
from dataclasses import dataclass

from holdfast.kernel.errors import NginxRefused, Unavailable
from holdfast.kernel.nginx.generations import Candidate, Generations
from holdfast.kernel.nginx.program import Nginx, TestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a change that was accepted."""

    generation: int
    previous: int | None
    output: str
    """nginx's words on the test."""
    live: bool
    """True when nginx answers with it now."""
    remedy: str = ""
    """What an operator must do so that it becomes live; empty when it is."""


async def go_live(
    generations: Generations,
    nginx: Nginx,
    candidate: Candidate,
    *,
    reload: bool = True,
    wait_seconds: float = 30.0,
) -> Outcome:
    """Test, switch, reload, wait. Under `change_lock`.

    Raises `NginxRefused` with nginx's words, or `Unavailable` when nginx did not take it: both
    leave files, live link and running nginx as they were. With ``reload=False`` the generation
    is tested and linked, and live at the next reload.
    """
    try:
        tested = await nginx.test(candidate)
        _check(tested)
        await asyncio.to_thread(generations.switch, candidate)
        status = await nginx.status()
        if status.include_present and not tested.complete:
            tested = await nginx.test_live()
            _check(tested)
        if reload and status.live:
            await _reload(nginx, candidate.number, wait_seconds)
    except BaseException:
        await take_back(generations, nginx, candidate, reload=False)
        raise
    return Outcome(
        generation=candidate.number,
        previous=candidate.previous,
        output=tested.output,
        live=reload and status.live,
        remedy=f"{status.problem}. {status.remedy}" if status.problem else "",
    )


async def take_back(
    generations: Generations, nginx: Nginx, candidate: Candidate, *, reload: bool = True
) -> None:
    """Undo `go_live`: the previous generation is live, the candidate gone. Safe to repeat."""
    if candidate.previous is not None and generations.current() == candidate.number:
        await asyncio.to_thread(generations.point_to, candidate.previous)
        answering = await nginx.status()
        if (reload or answering.loaded_generation == candidate.number) and answering.live:
            before = await nginx.reload()
            await nginx.wait_loaded(candidate.previous, before)
    await asyncio.to_thread(generations.discard, candidate)


def _check(tested: TestResult) -> None:
    if not tested.ok:
        raise NginxRefused(
            "nginx refuses this configuration; nothing was changed",
            hint="read nginx's words in the details",
            details=tested.output,
        )


async def _reload(nginx: Nginx, number: int, wait_seconds: float) -> None:
    before = await nginx.reload()
    loaded = await nginx.wait_loaded(number, before, timeout_seconds=wait_seconds)
    if nginx.refusal:
        raise NginxRefused(
            "nginx cannot run with this configuration; nothing was changed",
            hint="read nginx's words in the details: a port may be taken",
            details=nginx.refusal,
        )
    if not loaded:
        raise Unavailable(
            "nginx accepted the configuration but does not run with it; nothing was changed",
            hint="read nginx's error log: a port may be taken, or the control port blocked",
        )
