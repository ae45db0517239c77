"""Generations: what is carried on, what is put back, what a crash leaves."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from holdfast.kernel.nginx import Candidate, Generations, change_lock, control_port


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    made = Generations(tmp_path / "gw")
    made.ensure()
    return made


def change(generations: Generations, removed: tuple[str, ...] = (), **files: str) -> Candidate:
    texts = {f"pools/{name}.conf": text for name, text in files.items()}
    candidate = generations.prepare(texts, removed, author="ann", reason="test")
    generations.switch(candidate)
    return candidate


def test_the_first_start_writes_an_empty_generation_that_the_include_finds(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "gw")
    assert generations.ensure() == 1
    assert (tmp_path / "gw" / "live" / "http.conf").read_text().startswith("# managed by holdfast")
    assert generations.ensure() == 1, "a second start changes nothing"


def test_a_candidate_is_not_live_before_the_switch(generations: Generations) -> None:
    candidate = generations.prepare({"pools/a.conf": "a"}, author="ann", reason="test")
    assert (generations.current(), generations.read("pools/a.conf")) == (1, None)
    generations.switch(candidate)
    assert (generations.current(), generations.read("pools/a.conf")) == (2, "a")


def test_unchanged_files_are_carried_on_and_removed_ones_are_not(generations: Generations) -> None:
    change(generations, a="a", b="b")
    change(generations, removed=("pools/b.conf",), c="c")
    assert generations.files().keys() == {"http.conf", "pools/a.conf", "pools/c.conf"}
    assert generations.record().files.keys() == generations.files().keys()


def test_unchanged_files_are_the_same_file_on_disk(generations: Generations) -> None:
    first, second = change(generations, a="a"), change(generations, b="b")
    inodes = {(c.directory / "pools/a.conf").stat().st_ino for c in (first, second)}
    assert len(inodes) == 1


def test_the_record_says_who_why_and_what(generations: Generations) -> None:
    change(generations, a="a")
    record = generations.history()[0]
    assert (record.number, record.parent, record.author, record.reason) == (2, 1, "ann", "test")


def test_the_difference_of_two_generations_is_a_unified_diff(generations: Generations) -> None:
    change(generations, a="one\n", b="same\n")
    change(generations, a="two\n")
    diff = generations.diff(2, 3)
    assert "--- 2/pools/a.conf" in diff
    assert "-one\n+two\n" in diff
    assert "same" not in diff


def test_no_drift_right_after_a_change(generations: Generations) -> None:
    change(generations, a="a")
    assert generations.drift() == []


def edit_in_place(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.truncate()
        file.write(text)


def test_drift_shows_changed_missing_and_extra_files(generations: Generations) -> None:
    live = change(generations, a="old\n", b="b\n").directory / "pools"
    edit_in_place(live / "a.conf", "new\n")
    (live / "b.conf").unlink()
    (live / "mine.conf").write_text("mine\n")
    found = {drift.path: (drift.kind, drift.diff) for drift in generations.drift()}
    assert found.keys() == {"pools/a.conf", "pools/b.conf", "pools/mine.conf"}
    assert found["pools/a.conf"][0] == "changed"
    assert "-old\n+new\n" in found["pools/a.conf"][1]
    assert found["pools/b.conf"][0] == "missing"
    assert found["pools/mine.conf"][0] == "extra"


def test_an_edit_after_a_clean_look_is_found(generations: Generations) -> None:
    live = change(generations, a="old\n").directory
    assert generations.drift() == []
    edit_in_place(live / "pools/a.conf", "longer text\n")
    assert [drift.kind for drift in generations.drift()] == ["changed"]


def test_drift_is_carried_on_by_other_changes_and_not_corrected(generations: Generations) -> None:
    live = change(generations, a="old\n").directory
    edit_in_place(live / "pools/a.conf", "mine\n")
    (live / "pools/extra.conf").write_text("extra\n")
    change(generations, b="b\n")
    assert generations.read("pools/a.conf") == "mine\n"
    assert {d.path for d in generations.drift()} == {"pools/a.conf", "pools/extra.conf"}
    assert generations.written("pools/a.conf") == "old\n"
    change(generations, removed=("pools/extra.conf",), a="old\n")
    assert generations.drift() == []


def test_rollback_gives_what_was_written_also_after_an_edit_in_place(
    generations: Generations,
) -> None:
    old = change(generations, a="good\n")
    change(generations, b="b\n")
    edit_in_place(old.directory / "pools/a.conf", "broken\n")
    (old.directory / "pools/extra.conf").write_text("extra\n")
    candidate = generations.rollback(2)
    generations.switch(candidate)
    assert generations.current() == 2
    assert generations.files()["pools/a.conf"] == "good\n"
    assert generations.drift() == []
    assert generations.next_number() == 4, "numbers go on"


def test_rolling_back_to_the_live_generation_is_a_conflict(generations: Generations) -> None:
    with pytest.raises(Conflict):
        generations.rollback(1)
    with pytest.raises(NotFound):
        generations.rollback(99)


def test_a_discarded_candidate_leaves_no_text_behind(generations: Generations) -> None:
    change(generations, a="a")
    before = {p for p in generations.root.rglob("*") if p.is_file()}
    candidate = generations.prepare(
        {"pools/a.conf": "a", "pools/b.conf": "b"}, author="ann", reason="refused"
    )
    generations.discard(candidate)
    assert {p for p in generations.root.rglob("*") if p.is_file()} == before
    assert generations.written("pools/a.conf") == "a", "what others refer to stays"


def test_only_a_candidate_that_was_live_uses_its_number_up(
    generations: Generations,
) -> None:
    candidate = generations.prepare({"a.conf": "a"}, author="ann", reason="test")
    generations.discard(candidate)
    assert not candidate.directory.exists()
    assert generations.next_number() == candidate.number
    again = generations.prepare({"a.conf": "a"}, author="ann", reason="test")
    generations.switch(again)
    generations.point_to(again.previous or 0)
    generations.discard(again)
    assert not again.directory.exists()
    assert generations.next_number() == again.number + 1


def test_recovery_removes_what_was_not_finished_and_keeps_what_is_live(
    generations: Generations,
) -> None:
    change(generations, a="a")
    candidate = generations.prepare({"pools/b.conf": "b"}, author="ann", reason="crashed")
    half = generations.directory(candidate.number + 1)
    half.mkdir()
    (half / "http.conf").write_text("half")
    (generations.root / ".test-x").mkdir()
    again = Generations(generations.root)
    assert sorted(again.recover()) == [candidate.number, candidate.number + 1]
    assert (again.current(), again.read("pools/a.conf")) == (2, "a")
    assert not list(generations.root.glob(".test-*"))


def test_a_crash_between_rename_and_tidying_keeps_the_new_generation(
    generations: Generations,
) -> None:
    candidate = generations.prepare({"pools/a.conf": "a"}, author="ann", reason="test")
    generations.point_to(candidate.number)
    again = Generations(generations.root)
    assert again.ensure() == candidate.number
    assert [record.number for record in again.history()] == [2, 1]


def test_old_generations_are_pruned_and_the_live_one_stays(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "gw", keep=2)
    generations.ensure()
    for n in range(4):
        change(generations, a=f"text {n}")
    generations.point_to(2)
    assert generations.prune() == [3, 1]
    assert {record.number for record in generations.history()} == {5, 4, 2}
    assert "text 0" in generations.diff(2, 5)
    assert len(list((tmp_path / "gw" / "objects").iterdir())) == 4


@pytest.mark.parametrize(
    "path", ["../x.conf", "/etc/x.conf", "a/../b", "", "generation.json", "a//b"]
)
def test_a_path_cannot_leave_its_generation(generations: Generations, path: str) -> None:
    with pytest.raises(Invalid):
        generations.prepare({path: "x"}, author="ann", reason="test")


@contextlib.contextmanager
def files_opened(root: Path) -> Iterator[list[str]]:
    """The paths below ``root`` that this process opens meanwhile."""
    opened: list[str] = []
    looking = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if looking and event == "open" and str(arguments[0]).startswith(str(root)):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    yield opened
    looking = False


def test_a_change_among_two_thousand_files_opens_a_few(generations: Generations) -> None:
    files = {f"vhosts/v{n}.conf": f"server {n}\n" * 50 for n in range(1000)}
    files |= {f"vhosts/v{n}.meta.json": "{}" for n in range(1000)}
    generations.switch(generations.prepare(files, author="ann", reason="many"))
    with files_opened(generations.root) as opened:
        candidate = generations.prepare({"vhosts/v1.conf": "other"}, author="ann", reason="one")
        generations.switch(candidate)
    assert len(opened) < 50, opened
    generations.drift()
    with files_opened(generations.root) as opened:
        assert generations.drift() == []
    assert len(opened) < 50, opened


async def test_one_change_at_a_time_also_among_processes(tmp_path: Path) -> None:
    async with change_lock(tmp_path):
        with pytest.raises(Unavailable):
            async with change_lock(tmp_path, timeout_seconds=0.05):
                pass
    async with change_lock(tmp_path, timeout_seconds=0.05):
        pass


def test_the_control_port_is_chosen_once(tmp_path: Path) -> None:
    port = control_port(tmp_path)
    assert port == control_port(tmp_path)
    assert not 32768 <= port <= 60999
