"""The commands of tiers, as far as they need no server."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest
import yaml
from fastapi.routing import APIRoute

from holdfast.commands import follow, output, verbs
from holdfast.commands.output import Form
from holdfast.kernel.errors import Invalid
from holdfast.tiers.api import router
from holdfast.tiers.cli import OPTIONS, TIERS, absolute, differs
from holdfast.tiers.drawing import run_text, tree_text
from holdfast.tiers.model import Skip, TierOptions
from holdfast.tiers.names import from_text
from holdfast.tiers.schemas import TierChange, TierIn, absolute_path

if TYPE_CHECKING:
    from holdfast.client.http import HoldfastClient


def test_a_path_is_taken_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b/") == f"{tmp_path}/b"
    assert absolute("/x//y") == "/x/y"
    assert absolute("-dash") == f"{tmp_path}/-dash"


def test_a_name_of_any_bytes_survives_the_way_to_the_server() -> None:
    for name in (b"/t/\xdf\xff", b"/t/new\nline", "/t/\u00e9\u201bDF".encode(), b"/t/'\"$(x)"):
        assert absolute_path(absolute(os.fsdecode(name))) == name


def test_every_command_is_a_call_of_the_api() -> None:
    calls = {
        (method, re.sub(r"\{\w+\}", "{}", route.path))
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    for verb in TIERS:
        assert (verb.method, re.sub(r"\{\w+\}", "{}", verb.path)) in calls, verb.name


def test_every_option_of_a_tier_has_a_word_on_the_command_line() -> None:
    words = {field.name for field in OPTIONS}
    options = set(TierOptions.__dataclass_fields__)
    assert options <= words
    assert words <= set(TierIn.model_fields)
    assert set(TierIn.model_fields) == set(TierChange.model_fields)


def test_the_defaults_of_the_api_are_those_of_the_model() -> None:
    body = TierIn(name="t", path="/t", store_id=1)
    assert body.draft().options == TierOptions()
    assert from_text("") == b""


def a_file(name: str, **flags: bool) -> dict[str, Any]:
    told = {"local": True, "remote": True, "frozen": False, "differing": False, "missing": False}
    told["lost"] = False
    return {"name": name, "bytes": 2048, **told, **flags}


def a_folder(name: str, *entries: dict[str, Any], **folders: dict[str, Any]) -> dict[str, Any]:
    counts = {"files": 2, "bytes": 4096, "frozen": 1, "missing": 1, "differing": 0, "lost": 0}
    counts["may_differ"] = 0
    return {"name": name, **counts, "folders": folders, "entries": list(entries)}


def test_a_tree_is_drawn_with_what_is_where() -> None:
    inner = a_folder("2019", a_file("gone", local=False, frozen=True, missing=True))
    edited = {**a_file("edited"), "differing": None}
    top = {**a_folder("photos", edited, a_file("new", remote=False), inner=inner), "may_differ": 1}
    assert tree_text(top).splitlines() == [
        "photos/  (2 files, 4.0 KiB, 1 frozen, 1 missing, 1 may differ)",
        "├── 2019/  (2 files, 4.0 KiB, 1 frozen, 1 missing)",
        "│   └── gone  2.0 KiB  frozen, missing",
        "├── edited  2.0 KiB  may differ",
        "└── new  2.0 KiB  not on the store",
    ]
    deep = {**a_folder("deep"), "looked_into": False}
    assert tree_text(a_folder("photos", deep=deep)).splitlines()[1:] == ["└── deep/"]


def test_a_run_is_told_in_lines() -> None:
    left = {"files": 1, "bytes": 7}
    run = {
        "job_id": "abc",
        "action": "freeze",
        "asked": {"dry_run": True},
        "state": "done",
        "error": None,
        "files": {"quarantined": left},
        "outcome": {
            "files": 3,
            "bytes": 3000,
            "missing_files": 2,
            "missing_bytes": 1024,
            "skipped": {"pinned": left},
            "restore_seconds": 75.0,
            "over_limit": "3 of 4 files",
            "would_save": [{"days": 30, **left}],
        },
    }
    assert run_text(run).splitlines() == [
        "freeze (dry run) done: job abc",
        "3 files, 2.9 KiB",
        "on the store, and not here: 2 files, 1.0 KiB",
        "to bring them back: about 1 min 15 s",
        "unread for 30 days: 1 file, 7 B to save",
        "beyond the limits of the tier: 3 of 4 files",
        "left: 1 file, 7 B: pinned",
        "now: 1 file, 7 B: quarantined",
    ]
    pulled: dict[str, float] = {"files": 0, "bytes": 0, "restored_files": 1}
    pulled |= {"present_files": 2, "present_bytes": 3}
    pulled |= {"estimate_seconds": 75.0, "needed_bytes": 1024, "free_bytes": 4096}
    assert run_text({**run, "files": {}, "outcome": pulled}).splitlines()[1:] == [
        "0 files, 0 B",
        "back out of the quarantine: 1 file",
        "here already: 2 files, 3 B",
        "to bring them: about 1 min 15 s",
        "room: 1.0 KiB of 4.0 KiB that are free",
    ]
    folder = {"path": "2019", "files": 2, "bytes": 9}
    bars = [{"from_days": 0, "to_days": 1, "files": 0, "bytes": 0}]
    bars += [{"from_days": 30, "to_days": 60, "files": 3, "bytes": 16}]
    told = {"histogram": bars, "owners": [{"id": 7, "name": "", "files": 1, "bytes": 7}]}
    told |= {"folders": [{"path": "", **left}, folder], "folders_left_out": 4}
    assert run_text({**run, "files": {}, "outcome": told}).splitlines()[1:] == [
        "by last used:",
        "  30 to 60 days  3 files, 16 B",
        "by owner:",
        "  7  1 file, 7 B",
        "by folder:",
        "  2019  2 files, 9 B",
        "  .     1 file, 7 B",
        "and 4 more folders: -o json",
    ]
    failed = {**run, "outcome": {}, "files": {}, "state": "failed", "error": "no room"}
    assert run_text(failed).splitlines() == ["freeze (dry run) failed: job abc", "no room"]
    assert not run_text({"job_id": "abc", "joined": False})


@pytest.mark.parametrize("reason", Skip)
def test_only_what_was_compared_and_is_not_the_same_differs(reason: Skip) -> None:
    run: dict[str, Any] = {"job_id": "abc", "action": "verify", "state": "done", "error": None}
    outcome = {"skipped": {str(reason): {"files": 1, "bytes": 7}}}
    told = run_text({**run, "asked": {}, "files": {}, "outcome": outcome}).splitlines()[1:]
    is_found = reason in {
        Skip.MISSING_ON_STORE,
        Skip.OTHER_SIZE,
        Skip.OTHER_CONTENT,
        Skip.LOST,
    }
    unknown = {Skip.FAILED, Skip.NOT_PERMITTED, Skip.NOT_PROVABLE}
    assert differs({"outcome": outcome}) is (is_found or reason in unknown)
    assert told == [f"{'differs' if is_found else 'not compared'}: 1 file, 7 B: {reason}"]


def test_an_answer_without_an_outcome_has_found_nothing() -> None:
    assert not differs({"job_id": "abc", "joined": False})


class Runs:
    """A connection with a token for tiers alone: a run, as it goes."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = iter(states)

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/tiers/runs/j"
        return {"job_id": "j", "error": "no room", **next(self._states)}


def test_a_run_is_followed_without_asking_for_its_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    moving = {"state": "running", "progress_done": 1024, "progress_total": 4096}
    moving |= {"progress_unit": "bytes", "progress_text": "1 of 2 files"}
    runs = cast("HoldfastClient", Runs(moving, {"state": "done"}))
    assert follow.follow_run(runs, {"job_id": "j"}, None)["state"] == "done"
    assert capsys.readouterr().err == "running 1.0 KiB of 4.0 KiB 1 of 2 files\ndone\n"
    with pytest.raises(follow.DidNotSucceed, match="job j failed: no room"):
        follow.follow_run(cast("HoldfastClient", Runs({"state": "failed"})), {"job_id": "j"}, None)


class Calls:
    """A connection that notes what is asked."""

    ROWS: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.made: list[Any] = []

    def pages(self, path: str, *, query: dict[str, Any] | None = None) -> list[Any]:
        self.made.append((path, query))
        return [{"id": 7, "name": "photos"}] if path in {"/api/tiers", "/api/stores"} else []

    def lines(self, path: str, *, query: dict[str, Any]) -> Iterator[Any]:
        self.made.append((path, query))
        return iter(self.ROWS)

    def call(self, method: str, path: str, *, query: Any, body: Any = None) -> Any:
        self.made.append((path, query) if method == "GET" else (method, path, query, body))
        return [] if method == "GET" else {}


def called(name: str, **given: Any) -> list[Any]:
    """What a command asks of the API."""
    client = Calls()
    verb = next(verb for verb in TIERS if verb.name == name)
    verbs.carry_out(cast("HoldfastClient", client), verb, given)
    return client.made


def test_a_list_is_asked_for_in_as_few_calls_as_can_be() -> None:
    assert called("ls", path="/t/a") == [("/api/tiers/list", {"path": "/t/a", "limit": 10_000})]
    assert called("ls", path="/t/a", limit=5) == [("/api/tiers/list", {"path": "/t/a", "limit": 5})]
    found = called("details", job="j", reason="gone")
    assert found == [("/api/tiers/runs/j/details", {"reason": "gone", "limit": 10_000})]


def test_a_dry_run_is_not_told_as_done_and_needs_no_leave(
    capsys: pytest.CaptureFixture[str],
) -> None:
    *_, made = called("delete", tier="photos", dry_run=True, yes=False)
    assert made == ("DELETE", "/api/tiers/7", {"dry_run": True}, {})
    told = capsys.readouterr().err
    assert "nothing was changed" in told
    assert "deleted" not in told


def test_list_with_a_path_lists_that_folder() -> None:
    assert called("list", search="x") == [("/api/tiers", {"search": "x"})]
    wanted = [("/api/tiers/list", {"path": "/t/a", "depth": 2, "limit": 10_000})]
    assert called("list", path="/t/a", depth=2) == wanted


@pytest.mark.parametrize("form", Form)
def test_a_list_of_all_is_written_as_it_comes(
    form: Form, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "BLOCK_ROWS", 2)
    monkeypatch.setattr(Calls, "ROWS", [{"path": f"f{number}", "bytes": 1} for number in range(5)])
    if form is Form.JSON:
        Calls.ROWS.append({"path": "no line\u2028of its own\x85", "bytes": 1})
    output.choose(form)
    try:
        assert called("ls", path="/t/a", depth=0) == [("/api/tiers/files", {"path": "/t/a"})]
        told = capsys.readouterr().out
        if form is Form.TABLE:
            names = [line.split()[0] for line in told.splitlines()]
            assert names == ["PATH", "f0", "f1", "f2", "f3", "f4"]
        elif form is Form.JSON:
            assert told == json.dumps(Calls.ROWS, indent=2, ensure_ascii=False) + "\n"
        else:
            assert yaml.safe_load(told) == Calls.ROWS
        monkeypatch.setattr(Calls, "ROWS", [])
        called("ls", path="/t/a", depth=0)
        assert capsys.readouterr().out.strip() == ("" if form is Form.TABLE else "[]")
        assert called("ls", path="/t/a", depth=0, limit=5)[0][0] == "/api/tiers/list"
    finally:
        output.choose(Form.TABLE)


def test_an_option_is_taken_away_by_a_word() -> None:
    gone = dict.fromkeys(("second_store_id", "uid", "space_high_percent"), "none")
    *_, (_, _, _, body) = called("update", tier="photos", **gone, gid="5", space_low_percent="7.5")
    assert body == {**dict.fromkeys(gone), "gid": 5, "space_low_percent": 7.5}
    *_, (_, _, _, body) = called("update", tier="photos", second_store_id="photos")
    assert body == {"second_store_id": 7}
    with pytest.raises(Invalid, match="is no number"):
        called("update", tier="photos", uid="nobody")
