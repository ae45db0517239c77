"""Rules of a live migration."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.flags import Flag, FlagState
from holdfast.kernel.bandwidth import bytes_per_second
from holdfast.migrations import model
from holdfast.migrations.model import (
    ACTIVE_PHASES,
    TERMINAL_PHASES,
    GateAnswer,
    Options,
    Phase,
    Recovery,
    Stage,
    Verify,
    backoff_seconds,
    contradicts,
    estimated_seconds,
    gate_answer,
    is_over,
    may_cancel,
    may_hold,
    phase_of,
    predicted_hold_seconds,
    probation_is_over,
    recovery_of,
    seconds_per_key,
    served_by,
)


def a_flag(state: str, epoch: int = 3, pool: str = "s", target: str = "d") -> Flag:
    found = FlagState(state)
    if found is FlagState.STATIC:
        return Flag(epoch=epoch, state=found, pool_alias=pool)
    port = None if found is FlagState.SRC else 20_001
    return Flag(epoch=epoch, state=found, pool_alias=pool, target_alias=target, gate_port=port)


def recovered(*flags: Flag | None) -> Recovery:
    return recovery_of(flags, source="s", destination="d")


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_one_phase_and_is_active_or_over(stage: Stage) -> None:
    assert (phase_of(stage) in ACTIVE_PHASES) != (phase_of(stage) in TERMINAL_PHASES)
    assert is_over(stage) == (phase_of(stage) in TERMINAL_PHASES)


def test_the_phases_are_those_of_the_wire() -> None:
    assert [p.value for p in Phase] == [
        "pending",
        "copying",
        "verifying",
        "switching",
        "done",
        "error",
        "cancelled",
    ]


def test_a_cancel_is_possible_until_the_switch_and_never_after() -> None:
    assert {stage for stage in Stage if may_cancel(stage)} == {
        Stage.IDLE,
        Stage.PREPARE,
        Stage.COPY,
        Stage.CONVERGE,
        Stage.CUTOVER,
    }


@pytest.mark.parametrize("stage", Stage)
def test_what_can_be_cancelled_is_served_by_the_source(stage: Stage) -> None:
    assert served_by(stage) in {"source", "target"}
    if may_cancel(stage):
        assert served_by(stage) == "source"


def test_done_is_served_by_the_target() -> None:
    assert served_by(Stage.DONE) == "target"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], Recovery.START),
        ([None], Recovery.START),
        ([a_flag("static")], Recovery.START),
        ([a_flag("src")], Recovery.FULL_PASS),
        ([a_flag("hold")], Recovery.FULL_PASS),
        ([a_flag("holdd")], Recovery.FORWARD),
        ([a_flag("dst")], Recovery.PROBATION),
        ([a_flag("static", pool="d")], Recovery.FINISH),
        ([a_flag("static"), a_flag("src")], Recovery.FULL_PASS),
        ([a_flag("hold"), a_flag("src")], Recovery.FULL_PASS),
        ([a_flag("hold"), a_flag("holdd")], Recovery.MEND),
        ([a_flag("src"), a_flag("dst")], Recovery.MEND),
        ([a_flag("static"), a_flag("static", pool="d")], Recovery.MEND),
        ([a_flag("holdd"), a_flag("dst")], Recovery.FORWARD),
        ([a_flag("dst"), a_flag("static", pool="d")], Recovery.PROBATION),
    ],
)
def test_the_flags_tell_what_a_restart_does(flags: list[Flag | None], expected: Recovery) -> None:
    assert recovered(*flags) is expected
    assert recovered(*reversed(flags)) is expected


@pytest.mark.parametrize("todo", Recovery)
@pytest.mark.parametrize("stage", Stage)
def test_nothing_is_copied_again_once_the_destination_has_served(
    todo: Recovery, stage: Stage
) -> None:
    from_start = todo in {Recovery.START, Recovery.FULL_PASS}
    assert contradicts(todo, stage) == (from_start and served_by(stage) == "target")


def test_options_survive_the_database() -> None:
    options = Options(
        verify=Verify.HASH, transfers=3, waived=frozenset({"keys", "tokens"}), admitted=True
    )
    assert Options.from_json(options.to_json()) == options


def test_options_of_another_version_are_read() -> None:
    text = json.dumps({"transfers": 5, "something_new": 1})
    assert Options.from_json(text) == Options(transfers=5)
    assert Options.from_json("{}") == Options()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("800", 800.0),
        ("2K", 2048.0),
        ("1.5m", 1.5 * 1024**2),
        ("1G", 1024.0**3),
        ("0", None),
    ],
)
def test_a_bandwidth_is_bytes_a_second(text: str, expected: float | None) -> None:
    assert bytes_per_second(text) == expected


def test_a_round_without_keys_measures_nothing() -> None:
    assert seconds_per_key(0, 5.0, 0.01) == 0.01
    assert seconds_per_key(10, 5.0, None) == 0.5


@given(keys=st.integers(0, 10**6), per_key=st.floats(0.0001, 1), limit=st.floats(0.2, 60))
def test_a_hold_begins_only_when_the_last_keys_fit_well_into_it(
    keys: int, per_key: float, limit: float
) -> None:
    fits = may_hold(dirty_keys=keys, per_key=per_key, max_hold_seconds=limit, full_pass_owed=False)
    assert fits == (predicted_hold_seconds(keys, per_key) <= 0.3 * limit)
    assert not may_hold(dirty_keys=0, per_key=per_key, max_hold_seconds=limit, full_pass_owed=True)


def test_a_first_guess_stands_in_for_a_measurement() -> None:
    assert predicted_hold_seconds(10, None) == pytest.approx(10 * model.FALLBACK_SECONDS_PER_KEY)


@given(attempt=st.integers(-3, 10**9))
def test_pauses_grow_to_a_limit(attempt: int) -> None:
    assert backoff_seconds(attempt) <= backoff_seconds(attempt + 1) <= 30.0
    assert backoff_seconds(attempt) >= 0.25


def test_a_request_that_the_drain_waits_for_goes_on() -> None:
    assert gate_answer(counter="k", draining={"k"}, ended=False) is GateAnswer.GO


def test_a_request_under_a_drained_counter_waits() -> None:
    assert gate_answer(counter="k", draining={"other"}, ended=False) is GateAnswer.WAIT


def test_everybody_goes_when_the_hold_has_ended() -> None:
    assert gate_answer(counter="k", draining=set(), ended=True) is GateAnswer.GO


@pytest.mark.parametrize(
    ("had_pins", "live", "quiet", "over"),
    [(False, 0, 0.0, True), (True, 1, 99.0, False), (True, 0, 1.0, False), (True, 0, 2.0, True)],
)
def test_probation_lasts_while_uploads_are_pinned_and_a_little_longer(
    had_pins: bool, live: int, quiet: float, over: bool
) -> None:
    assert over == probation_is_over(
        had_pins=had_pins, live=live, quiet_seconds=quiet, wanted_seconds=2.0
    )


def test_an_estimate_is_by_number_or_by_size() -> None:
    assert estimated_seconds(objects=1600, size_bytes=0, transfers=16, limit=None) == 2.0
    assert estimated_seconds(objects=1, size_bytes=10**9, transfers=16, limit=10**8 / 2) == 20.0
