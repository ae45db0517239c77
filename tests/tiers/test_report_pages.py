"""A report as a page: its histogram, its map, its tables."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.db import Database
from holdfast.tiers.model import Action
from holdfast.tiers.pages.treemap import Area, boxes, squarified
from tests.gateway.pages.web import Web, words
from tests.tiers.pages_kit import AWKWARD, a_run, pages_of
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


@pytest.fixture
async def web(scene: Scene) -> AsyncIterator[Web]:
    async with pages_of(scene) as opened:
        yield opened


def a_report() -> dict[str, Any]:
    cold = {"30": 300, "90": 200, "180": 100, "365": 0}
    half = {"30": 100, "90": 100, "180": 100, "365": 0}
    child = {"name": "a b", "files": 1, "bytes": 300, "unread_bytes": half, "children": []}
    whole = {"files": 4, "bytes": 400, "unread_bytes": cold}
    return {
        "at": "2026-01-02T03:04:05Z",
        "path": "",
        **whole,
        "would_save": [{"days": int(d), "files": 1, "bytes": size} for d, size in cold.items()],
        "stays": {"pinned": {"files": 1, "bytes": 7}},
        "histogram": [
            {"from_days": 0, "to_days": 1, "files": 1, "bytes": 100},
            {"from_days": 1825, "to_days": None, "files": 3, "bytes": 300},
        ],
        "folders": [
            {"path": "", "files": 3, "bytes": 100, "unread_bytes": half},
            {"path": AWKWARD, "files": 1, "bytes": 300, "unread_bytes": half},
        ],
        "owners": [{"id": 7, "name": "", **whole}],
        "treemap": {"name": "", **whole, "children": [child]},
    }


async def test_a_report_is_a_histogram_a_map_and_tables(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    assert "No report yet" in await web.get(f"/web/tiers/{tier.id}/report")
    await a_run(scene, tier.id, "j1", Action.REPORT, outcome=a_report())
    page = await web.get(f"/web/tiers/{tier.id}/report?days=180&sort=path")
    assert AWKWARD not in page
    shown = words(page)
    assert "Unread for 90 days 200 B 1 files, 50 % of the bytes" in shown
    assert "less than a day" in shown
    assert "5 years and more" in shown
    assert 'class="shade-1"' in page
    assert f"/web/tiers/{tier.id}/browse?path=a+b" in page
    assert "style=" not in page
    listed = words(await web.get("/web/tiers"))
    assert "400 B" in listed


async def test_a_report_of_a_folder_is_not_that_of_the_tier(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    root = tier.root.decode()
    await a_run(scene, tier.id, "j1", Action.REPORT, outcome=a_report())
    part = {**a_report(), "path": "a", "bytes": 5120, "files": 1}
    await a_run(scene, tier.id, "j2", Action.REPORT, outcome=part, paths=("a",))
    assert "5.0 KiB" not in words(await web.get(f"/web/tiers/{tier.id}/report"))
    for page in ("/web/tiers", f"/web/tiers/{tier.id}"):
        assert "400 B" in words(await web.get(page))
    page = await web.get(f"/web/tiers/{tier.id}/report?run=j2&q=x")
    assert "1 files, 5.0 KiB" in words(page)
    assert f"/web/tiers/{tier.id}/browse?path=a%2Fa+b" in page
    assert f'value="{root}/a"' in page
    assert 'href="/web/tiers/1/report?run=j2">Clear' in page
    made = await web.post(f"/web/tiers/{tier.id}/report", path=f"{root}/b")
    assert "Report of photos/b" in words(await web.get(made.headers["location"]))
    await web.post(f"/web/tiers/{tier.id}/report", path="/etc", status=400)


@pytest.mark.parametrize("sizes", [[6, 6, 4, 3, 2, 2, 1], [1], [5, 0, 0], [1000, 1, 1], [0]])
def test_areas_have_their_sizes_and_stay_in_their_place(sizes: list[int]) -> None:
    found = squarified(sizes, Area(0, 0, 60, 40))
    total = sum(sizes)
    assert len(found) == len(sizes)
    for size, area in zip(sizes, found, strict=True):
        wanted = 2400 * size / total if total else 0
        assert area.width * area.height == pytest.approx(wanted, abs=1e-6)
        assert area.x + area.width <= 60 + 1e-6
        assert area.y + area.height <= 40 + 1e-6


def test_a_map_has_the_files_beside_the_folders_and_leaves_out_what_nobody_sees() -> None:
    found = boxes(a_report()["treemap"], "180")
    assert [(box.path, box.size_bytes, box.shade) for box in found] == [
        ("a b", 300, 1),
        ("(files)", 100, 0),
    ]
    assert boxes({"bytes": 0}, "30") == []


async def test_what_runs_and_what_a_freeze_would_save_come_first(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    large = {**a_report(), "files": 123_456_789, "bytes": 123 * 10**12}
    large["unread_bytes"] = dict.fromkeys(large["unread_bytes"], 123 * 10**12)
    for saved in large["would_save"]:
        saved.update(files=123_456_789, bytes=45 * 10**12)
    await a_run(scene, tier.id, "j1", Action.REPORT, outcome=large)
    for page in ("/web/tiers", f"/web/tiers/{tier.id}"):
        shown = words(await web.get(page))
        assert "Unread for 90 days" in shown
        assert "111.9 TiB a freeze would save 40.9 TiB" in shown
        assert " Now " not in shown
    await scene.asked(Action.PULL, tier.root + b"/a")
    await scene.asked(Action.FREEZE, tier.root + b"/b")
    for page in ("/web/tiers", f"/web/tiers/{tier.id}"):
        shown = words(await web.get(page))
        queue = shown[shown.index(" Now ") : shown.index("a freeze would save")]
        assert queue.index("pull") < queue.index("freeze")
