import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.kernel import guard
from holdfast.kernel.process import (
    Child,
    ProcessFailed,
    ProcessTimedOut,
    ProgramMissing,
    run,
    start,
    stream,
)

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
LEAVES_A_CHILD = "sleep 300 & echo $!"
LIMIT_SECONDS = 20.0


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def until(condition: Callable[[], bool], *, limit_seconds: float = LIMIT_SECONDS) -> None:
    async with asyncio.timeout(limit_seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Lines:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def first(self) -> str:
        await until(lambda: bool(self.seen))
        return self.seen[0]


async def test_stdout_comes_back_whole_and_stderr_among_the_last_lines() -> None:
    done = await run(["sh", "-c", "echo one; echo two; echo oops >&2"], timeout_seconds=10)
    assert (done.returncode, done.stdout) == (0, "one\ntwo")
    assert sorted(done.last_lines) == ["one", "oops", "two"]


async def test_lines_go_to_their_sink_as_they_come() -> None:
    lines, errors = Lines(), Lines()
    done = await run(
        ["sh", "-c", "echo a; echo bad >&2; printf b"],
        timeout_seconds=10,
        on_line=lines.seen.append,
        on_error_line=errors.seen.append,
    )
    assert (lines.seen, errors.seen, done.stdout) == (["a", "b"], ["bad"], "")


async def test_a_failure_carries_the_status_and_the_last_words() -> None:
    with pytest.raises(ProcessFailed) as caught:
        await run(["sh", "-c", "seq 100; echo no such host >&2; exit 7"], timeout_seconds=10)
    assert caught.value.returncode == 7
    assert "no such host" in caught.value.last_lines
    assert len(caught.value.last_lines) == 40
    assert "status 7" in caught.value.message


async def test_an_accepted_status_is_not_a_failure() -> None:
    done = await run(["sh", "-c", "exit 24"], timeout_seconds=10, accept=frozenset({0, 24}))
    assert done.returncode == 24


async def test_a_program_ended_by_a_signal_says_which() -> None:
    with pytest.raises(ProcessFailed, match="SIGSEGV") as caught:
        await run(["sh", "-c", "kill -SEGV $$"], timeout_seconds=10)
    assert caught.value.returncode == -signal.SIGSEGV


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program"):
        await run(["no-such-program"], timeout_seconds=10)


async def test_words_never_meet_a_shell(tmp_path: Path) -> None:
    done = await run(["echo", f"$(touch {tmp_path}/x); `id`"], timeout_seconds=10)
    assert done.stdout == f"$(touch {tmp_path}/x); `id`"
    assert not (tmp_path / "x").exists()


async def test_only_the_given_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET", "hunter2")
    done = await run(["env"], timeout_seconds=10, env={"GIVEN": "yes"})
    assert {line.partition("=")[0] for line in done.stdout.splitlines()} == {
        "GIVEN",
        "LANG",
        "PATH",
    }


async def test_stdin_reaches_the_program_whatever_its_size() -> None:
    done = await run(["wc", "-c"], timeout_seconds=10, stdin=b"x" * 1_000_000)
    assert done.stdout.strip() == "1000000"


async def test_without_stdin_a_program_reads_an_empty_one() -> None:
    assert (await run(["cat"], timeout_seconds=10)).stdout == ""


async def test_the_working_directory_is_the_given_one(tmp_path: Path) -> None:
    assert (await run(["pwd"], timeout_seconds=10, cwd=tmp_path)).stdout == str(tmp_path)


async def test_what_cannot_be_kept_ends_the_program() -> None:
    with pytest.raises(ProcessFailed, match="more than can be kept"):
        await run(["yes", "x" * 1000], timeout_seconds=60)


async def test_an_error_in_a_sink_comes_out_and_ends_the_program() -> None:
    pids: list[int] = []

    def sink(line: str) -> None:
        pids.append(int(line))
        raise LookupError(line)

    with pytest.raises(LookupError):
        await run(["sh", "-c", "echo $$; exec sleep 300"], timeout_seconds=60, on_line=sink)
    assert not is_running(pids[0])


async def test_a_timeout_ends_the_whole_group() -> None:
    lines = Lines()
    with pytest.raises(ProcessTimedOut) as caught:
        await run(
            ["sh", "-c", f"{LEAVES_A_CHILD}; sleep 300"],
            timeout_seconds=0.5,
            on_line=lines.seen.append,
        )
    assert caught.value.exit_code == 124
    await until(lambda: not is_running(int(lines.seen[0])))


async def test_a_program_deaf_to_term_is_killed() -> None:
    lines = Lines()
    child = await start(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        on_line=lines.seen.append,
    )
    await lines.first()
    await child.stop(grace_seconds=0.2)
    assert child.returncode == -signal.SIGKILL


async def test_a_program_may_clean_up_on_term(tmp_path: Path) -> None:
    lines = Lines()
    script = f"trap 'touch {tmp_path}/clean; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    child = await start(["sh", "-c", script], on_line=lines.seen.append)
    await lines.first()
    await child.stop()
    assert child.returncode == 0
    assert (tmp_path / "clean").exists()


async def test_cancellation_ends_the_whole_group() -> None:
    lines = Lines()
    task = asyncio.create_task(
        run(
            ["sh", "-c", f"{LEAVES_A_CHILD}; sleep 300"],
            timeout_seconds=300,
            on_line=lines.seen.append,
        )
    )
    left = int(await lines.first())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_running(left))


async def test_cancelled_twice_it_still_leaves_nothing() -> None:
    lines = Lines()
    task = asyncio.create_task(
        run(
            ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done"],
            timeout_seconds=300,
            on_line=lines.seen.append,
        )
    )
    leader = int(await lines.first())
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_running(leader))


async def test_what_a_leader_leaves_behind_is_killed_and_does_not_hold_up_the_end() -> None:
    begun = time.monotonic()
    done = await run(["sh", "-c", LEAVES_A_CHILD], timeout_seconds=60)
    assert time.monotonic() - begun < 10
    await until(lambda: not is_running(int(done.stdout)))


async def test_a_daemon_runs_until_it_is_stopped() -> None:
    async with await start(["sleep", "300"]) as child:
        assert child.returncode is None
        assert is_running(child.pid)
    assert child.returncode == -signal.SIGTERM


async def test_waiting_for_a_daemon_tells_of_its_death() -> None:
    async with await start(["sleep", "300"]) as child:
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await child.wait() == -signal.SIGKILL


async def test_a_stream_gives_records_and_then_the_failure() -> None:
    words = ["sh", "-c", r"printf 'a\0b b\0'; exit 3"]
    records = stream(words, silence_seconds=10, separator=b"\0")
    assert [await anext(records), await anext(records)] == [b"a", b"b b"]
    with pytest.raises(ProcessFailed, match="status 3"):
        await anext(records)


async def test_a_stream_waits_for_its_reader_and_ends_with_it() -> None:
    records = stream(["sh", "-c", "echo $$; exec yes"], silence_seconds=10)
    leader = int(await anext(records))
    assert is_running(leader)
    await records.aclose()
    assert not is_running(leader)


async def test_a_stream_ends_at_the_line_after_which_it_cannot_end_well() -> None:
    words = ["sh", "-c", "echo found; echo fine >&2; echo 'ERROR : lost' >&2; sleep 300"]
    records = stream(words, silence_seconds=100, fails_at=lambda line: "ERROR" in line)
    assert await anext(records) == b"found"
    with pytest.raises(ProcessFailed, match="could not go on") as failure:
        await anext(records)
    assert "ERROR : lost" in failure.value.last_lines


async def test_a_silent_stream_times_out() -> None:
    with pytest.raises(ProcessTimedOut):
        await anext(stream(["sleep", "300"], silence_seconds=0.3))


OWNER = """
import asyncio, sys
from holdfast.kernel.process import run
script = "sleep 300 & echo $! $$; wait"
say = lambda line: print(line, flush=True)
asyncio.run(run(["sh", "-c", script], timeout_seconds=300, on_line=say))
"""


async def an_owner_with_programs() -> tuple[Child, list[int]]:
    lines = Lines()
    owner = await start(
        [sys.executable, "-c", OWNER],
        env={"PYTHONPATH": str(ROOT / "src")},
        on_line=lines.seen.append,
    )
    return owner, [int(word) for word in (await lines.first()).split()]


async def test_programs_and_their_children_die_with_a_killed_owner() -> None:
    owner, pids = await an_owner_with_programs()
    async with owner:
        os.kill(owner.pid, signal.SIGKILL)
        await until(lambda: not any(is_running(pid) for pid in pids))


async def test_programs_of_a_frozen_owner_are_killed() -> None:
    owner, pids = await an_owner_with_programs()
    async with owner:
        os.kill(owner.pid, signal.SIGSTOP)
        try:
            await until(
                lambda: not any(is_running(pid) for pid in pids),
                limit_seconds=guard.FROZEN_AFTER_SECONDS + LIMIT_SECONDS,
            )
            assert is_running(owner.pid)
        finally:
            os.kill(owner.pid, signal.SIGCONT)


async def test_programs_of_a_busy_owner_live_on() -> None:
    async with await start(["sleep", "300"]) as child:
        time.sleep(guard.FROZEN_AFTER_SECONDS + 1)  # noqa: ASYNC251 - a blocked loop is the point
        await asyncio.sleep(0)
        assert is_running(child.pid)


REPLACES_ITS_WATCHDOG = """
import asyncio
from holdfast.kernel import guard
from holdfast.kernel.process import start

async def main():
    async with await start(["sleep", "300"]) as child:
        print(child.pid, flush=True)
        first = guard.guard()._popen
        first.kill()
        while guard.guard()._popen is first:
            await asyncio.sleep(0.01)
        guard.guard()._popen.stdin.close()  # as if we had died
        await child.wait()

asyncio.run(main())
"""


async def test_a_killed_watchdog_is_replaced_and_knows_the_groups() -> None:
    # In a process of its own: the watchdog kills every program that its owner has.
    lines = Lines()
    async with await start(
        [sys.executable, "-c", REPLACES_ITS_WATCHDOG],
        env={"PYTHONPATH": str(ROOT / "src")},
        on_line=lines.seen.append,
    ):
        pid = int(await lines.first())
        await until(lambda: not is_running(pid))
