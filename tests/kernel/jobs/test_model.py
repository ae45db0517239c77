"""The rules of jobs."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import Invalid
from holdfast.kernel.jobs.model import (
    Action,
    Claim,
    JobState,
    Recorded,
    Situation,
    admitted,
    end_state,
    lock_path,
    next_action,
    next_fire,
    overlap,
)

paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
claims = st.lists(
    st.tuples(st.integers(1, 3), st.lists(paths, max_size=2)), min_size=1, max_size=8
).map(
    lambda drawn: [
        Claim(id=str(n), seq=n, priority=priority, locks=tuple(locks))
        for n, (priority, locks) in enumerate(drawn)
    ]
)


def a_claim(seq: int, *locks: str, priority: int = 100) -> Claim:
    return Claim(id=f"job{seq}", seq=seq, priority=priority, locks=locks)


def a_situation(
    recorded: Recorded,
    *,
    state: JobState = JobState.RUNNING,
    launched: bool = True,
    runs_here: bool = False,
    owner_alive: bool = True,
    owner_is_me: bool = True,
    lost: bool = False,
) -> Situation:
    return Situation(
        state=state,
        launched=launched,
        recorded=recorded,
        runs_here=runs_here,
        owner_alive=owner_alive,
        owner_is_me=owner_is_me,
        lost=lost,
    )


def clash(one: Claim, other: Claim) -> bool:
    return any(overlap(a, b) for a, b in itertools.product(one.locks, other.locks))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a/b", "a/b", True),
        ("a", "a/b", True),
        ("a/b/c", "a", True),
        ("a/b", "a/bc", False),
        ("a/b", "a/c", False),
    ],
)
def test_paths_overlap_when_one_lies_in_the_other(one: str, other: str, *, expected: bool) -> None:
    assert overlap(one, other) is expected


@pytest.mark.parametrize("text", ["", "/", "a/../b", ".", ".."])
def test_a_lock_is_a_path_that_stays_where_it_is(text: str) -> None:
    with pytest.raises(Invalid):
        lock_path(text)


def test_a_lock_has_one_form() -> None:
    assert lock_path("//a/./b/") == lock_path("a/b") == "a/b"


def test_a_job_behind_a_blocked_one_on_the_same_path_waits_too() -> None:
    running = [a_claim(1, "a/b")]
    waiting = [a_claim(2, "a"), a_claim(3, "a/c"), a_claim(4, "d")]
    assert admitted(waiting, running, cap=9) == ["job4"]


def test_nobody_is_admitted_past_the_cap() -> None:
    assert admitted([a_claim(2), a_claim(3)], [a_claim(1)], cap=2) == ["job2"]
    assert admitted([a_claim(2)], [a_claim(1)], cap=1) == []
    assert admitted([a_claim(2)], [a_claim(1), a_claim(0)], cap=1) == []


@given(claims, claims, st.integers(1, 10))
def test_those_admitted_never_clash_never_overtake_and_keep_the_cap(
    waiting: Sequence[Claim], running: Sequence[Claim], cap: int
) -> None:
    by_id = {claim.id: claim for claim in waiting}
    chosen = [by_id[job_id] for job_id in admitted(waiting, running, cap=cap)]
    assert len(chosen) <= max(0, cap - len(running))
    assert not any(clash(a, b) for a, b in itertools.combinations(chosen, 2))
    assert not any(clash(a, b) for a in chosen for b in running)
    left = [claim for claim in waiting if claim not in chosen]
    for late, early in itertools.product(chosen, left):
        overtakes = (early.priority, early.seq) < (late.priority, late.seq)
        assert not (overtakes and clash(late, early))


@given(claims, st.integers(1, 10))
def test_somebody_is_admitted_when_nothing_runs(waiting: Sequence[Claim], cap: int) -> None:
    assert admitted(waiting, [], cap=cap)


@pytest.mark.parametrize(
    ("situation", "action"),
    [
        (a_situation(Recorded.UNKNOWN, launched=False), Action.ENQUEUE),
        (a_situation(Recorded.UNKNOWN, state=JobState.CANCELLING), Action.FINISH),
        (a_situation(Recorded.QUEUED), Action.NOTHING),
        (a_situation(Recorded.QUEUED, state=JobState.CANCELLING), Action.CANCEL),
        (a_situation(Recorded.RUNNING), Action.NOTHING),
        (a_situation(Recorded.RUNNING, lost=True), Action.TAKE_OVER),
        (a_situation(Recorded.RUNNING, state=JobState.CANCELLING), Action.CANCEL),
        (
            a_situation(Recorded.RUNNING, state=JobState.CANCELLING, owner_is_me=False),
            Action.NOTHING,
        ),
        (a_situation(Recorded.SUCCEEDED), Action.FINISH),
        (a_situation(Recorded.SUCCEEDED, runs_here=True), Action.NOTHING),
        (a_situation(Recorded.FAILED, launched=False), Action.RUN_AGAIN),
        (a_situation(Recorded.CANCELLED, launched=False), Action.RUN_AGAIN),
        (
            a_situation(Recorded.FAILED, launched=False, state=JobState.CANCELLING),
            Action.FINISH,
        ),
        (a_situation(Recorded.CANCELLED, owner_is_me=False), Action.NOTHING),
        (a_situation(Recorded.CANCELLED, owner_is_me=False, owner_alive=False), Action.FINISH),
        (a_situation(Recorded.GAVE_UP), Action.FINISH),
    ],
)
def test_each_situation_has_its_action(situation: Situation, action: Action) -> None:
    assert next_action(situation) is action


@pytest.mark.parametrize("recorded", list(Recorded))
@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLING])
@pytest.mark.parametrize("runs_here", [True, False])
def test_locks_are_kept_while_something_runs(
    recorded: Recorded, state: JobState, *, runs_here: bool
) -> None:
    situation = a_situation(recorded, state=state, runs_here=runs_here)
    if runs_here and recorded is not Recorded.UNKNOWN:
        assert next_action(situation) is not Action.FINISH


@pytest.mark.parametrize(
    ("recorded", "gave_way", "state"),
    [
        (Recorded.SUCCEEDED, False, JobState.DONE),
        (Recorded.FAILED, False, JobState.FAILED),
        (Recorded.FAILED, True, JobState.CANCELLED),
        (Recorded.CANCELLED, False, JobState.CANCELLED),
        (Recorded.UNKNOWN, False, JobState.CANCELLED),
        (Recorded.GAVE_UP, False, JobState.FAILED),
    ],
)
def test_each_record_has_its_end(recorded: Recorded, state: JobState, *, gave_way: bool) -> None:
    assert end_state(recorded, gave_way=gave_way) is state


@pytest.mark.parametrize("recorded", [Recorded.QUEUED, Recorded.RUNNING])
def test_what_is_under_way_has_no_end(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="no end"):
        end_state(recorded, gave_way=False)


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_schedule_fires_in_its_own_zone() -> None:
    fires = next_fire("30 4 * * *", "Europe/Berlin", after=NEW_YEAR)
    assert fires.astimezone(UTC) == datetime(2026, 1, 1, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [
        ("30 4 * * *", "Europe/Nowhere", "not a time zone"),
        ("61 4 * * *", "UTC", "not a schedule"),
        ("0 0 30 2 *", "UTC", "not a schedule"),
    ],
)
def test_a_schedule_that_never_fires_is_refused(cron: str, zone: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        next_fire(cron, zone, after=NEW_YEAR)
