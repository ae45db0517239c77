"""Rules of tiers."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tiers.model import (
    QUARANTINE,
    Action,
    Asked,
    PathRule,
    Policy,
    Proof,
    Standing,
    TierOptions,
    bytes_over,
    covers,
    inside,
    is_own,
    job_to_join,
    locks_of,
    longest_age,
    nearest_root,
    outermost,
    over_limit,
    overlap,
    relative_to,
)

NAMES = st.text("ab", min_size=1, max_size=2)
PATHS = st.lists(NAMES, max_size=3).map("/".join)


def a_pull(*paths: str, dry_run: bool = False) -> Asked:
    return Asked(action=Action.PULL, paths=paths or ("",), dry_run=dry_run)


def a_freeze(*paths: str, dry_run: bool = False) -> Asked:
    return Asked(action=Action.FREEZE, paths=paths or ("",), dry_run=dry_run)


def standing(*runs: Asked) -> list[Standing]:
    return [Standing(job_id=f"job-{number}", asked=run) for number, run in enumerate(runs)]


def test_a_folder_holds_whole_components_only() -> None:
    assert inside(b"a/b", b"a")
    assert inside(b"a", b"a")
    assert inside(b"anything", b"")
    assert not inside(b"ab", b"a")


def test_a_path_is_seen_from_the_root_it_lies_below() -> None:
    assert relative_to(b"/data", b"/data") == b""
    assert relative_to(b"/data", b"/data/a/b") == b"a/b"
    assert relative_to(b"/data", b"/database") is None
    assert nearest_root([b"/data", b"/data/deep", b"/other"], b"/data/deep/x") == b"/data/deep"
    assert nearest_root([b"/data"], b"/elsewhere") is None


def test_a_run_that_would_remove_too_much_is_told_so() -> None:
    options = TierOptions(max_files_percent=50, max_bytes_percent=10)
    assert over_limit(options, files=5, of_files=10, size=1, of_size=10) is None
    assert "6 of 10 files" in str(over_limit(options, files=6, of_files=10, size=0, of_size=10))
    assert "2 of 10 bytes" in str(over_limit(options, files=1, of_files=10, size=2, of_size=10))
    assert over_limit(options, files=0, of_files=0, size=0, of_size=0) is None


def test_ages_that_decide_are_told_shortest_first() -> None:
    rules = (
        PathRule(pattern="/new/**", policy=Policy.FREEZE_AFTER, age_days=7),
        PathRule(pattern="/keep/**", policy=Policy.PIN),
    )
    assert longest_age(TierOptions(age_days=180, rules=rules)) == [7, 180]


def test_options_are_kept_whole() -> None:
    rule = PathRule(pattern="*.fq", policy=Policy.FREEZE_AFTER, age_days=3)
    options = TierOptions(
        filters=("- *.tmp",), rules=(rule,), proof=Proof.COMPARE, space_low_percent=80.0
    )
    assert TierOptions.from_json(options.to_json()) == options
    assert TierOptions.from_json("{}") == TierOptions()


def test_what_was_asked_is_kept_whole() -> None:
    asked = Asked(action=Action.UNDO, paths=("a", "b/c"), undoes="job", until_bytes=7)
    assert Asked.from_json(asked.to_json()) == asked


@pytest.mark.parametrize(
    ("action", "dry_run", "changes"),
    [
        (Action.PULL, False, True),
        (Action.PULL, True, False),
        (Action.FREEZE, False, True),
        (Action.UNDO, False, True),
        (Action.VERIFY, False, False),
        (Action.REPORT, False, False),
    ],
)
def test_some_runs_change_files(action: Action, dry_run: bool, changes: bool) -> None:
    assert Asked(action=action, dry_run=dry_run).changes_files is changes


def test_of_paths_in_one_another_the_outermost_stay() -> None:
    assert outermost(["a/b", "a", "ab", "c/d", "a"]) == ("a", "ab", "c/d")
    assert outermost(["a", ""]) == ("",)


@given(st.lists(PATHS, max_size=6))
def test_the_outermost_cover_all_and_none_lies_in_another(paths: list[str]) -> None:
    kept = outermost(paths)
    assert covers(kept, paths)
    assert all(not overlap([one], [other]) for one in kept for other in kept if one != other)


def test_the_same_request_twice_is_one_job() -> None:
    runs = standing(a_freeze("a"), a_freeze("b"))
    assert job_to_join(a_freeze("b"), runs) == "job-1"
    assert job_to_join(a_freeze("b", dry_run=True), runs) is None
    confirmed = dataclasses.replace(a_freeze("b"), confirm=True)
    assert job_to_join(confirmed, runs) is None


def test_a_pull_joins_a_pull_of_the_folder_around_it() -> None:
    runs = standing(a_pull("a", "c"))
    assert job_to_join(a_pull("a/b"), runs) == "job-0"
    assert job_to_join(a_pull("a/b", "c"), runs) == "job-0"
    assert job_to_join(a_pull("a/b", "d"), runs) is None
    assert job_to_join(a_pull("ab"), runs) is None
    assert job_to_join(a_pull("a/b", dry_run=True), runs) is None


def test_a_freeze_never_joins_a_pull_nor_a_wider_freeze() -> None:
    assert job_to_join(a_freeze("a"), standing(a_pull("a"))) is None
    assert job_to_join(a_freeze("a/b"), standing(a_freeze("a"))) is None


def test_nobody_joins_a_run_that_stands_before_one_which_undoes_it() -> None:
    assert job_to_join(a_pull("a/b"), standing(a_pull("a"), a_freeze("a/b/c"))) is None
    assert job_to_join(a_pull("a"), standing(a_pull("a"), a_freeze("a"))) is None
    assert job_to_join(a_pull("a"), standing(a_pull("a"), a_freeze("z"))) == "job-0"
    dry = standing(a_pull("a"), a_freeze("a", dry_run=True))
    assert job_to_join(a_pull("a"), dry) == "job-0"


def test_of_two_wider_pulls_the_older_is_joined() -> None:
    assert job_to_join(a_pull("a/b"), standing(a_pull("a"), a_pull(""))) == "job-0"


def test_what_changes_files_keeps_their_paths_to_itself() -> None:
    assert locks_of(7, a_pull("a/b", "c")) == ["tiers/7/a/b", "tiers/7/c"]
    assert locks_of(7, a_freeze()) == ["tiers/7"]
    assert locks_of(7, a_freeze("a", dry_run=True)) == []
    assert locks_of(7, Asked(action=Action.REPORT)) == []
    assert locks_of(7, Asked(action=Action.VERIFY)) == ["tiers/7"]
    undo = Asked(action=Action.UNDO, paths=("a",), undoes="job")
    assert locks_of(7, undo) == ["tiers/7/a", f"tiers/7/{QUARANTINE}"]


def test_space_is_made_from_the_high_mark_to_the_low_one() -> None:
    options = TierOptions(space_high_percent=90, space_low_percent=80)
    assert bytes_over(options, used=95, available=5) == 15
    assert bytes_over(options, used=89, available=11) == 0
    assert bytes_over(TierOptions(), used=95, available=5) == 0
    assert bytes_over(options, used=0, available=0) == 0


def test_folders_of_our_own_are_nothing_of_the_tiers() -> None:
    ours = (b".holdfast-quarantine", b".holdfast-quarantine/3/x", b".holdfast-pull/3")
    assert all(map(is_own, ours))
    assert not any(map(is_own, (b"", b"a/.holdfast-pull", b".holdfast-pulled", b"\xff")))
