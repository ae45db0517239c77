"""What a store has said is kept for as long as it must still be true, and no longer."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from holdfast.kernel.db import Database
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import asking, proof
from holdfast.tiers.holding import Stays
from holdfast.tiers.listing import ListingTotals
from holdfast.tiers.merge import Count, Listed
from holdfast.tiers.model import Proof, Skip
from holdfast.tiers.proof import Pair, Proven, place_name, prove
from holdfast.tiers.proof_cache import day_of
from holdfast.tiers.tables import TierProofRow
from tests.tiers.icebox import NOWHERE, Icebox, an_icebox, found

NAMES = (b"a/x", b"b/x")
MARK = "1000000000"


@pytest.fixture
async def box(database: Database, tmp_path: Path) -> Icebox:
    made = await an_icebox(database, tmp_path)
    made.put(b"a/x", content=b"one")
    made.put(b"b/x", content=b"two")
    made.mark = MARK
    return made


def nothing_free() -> ListingTotals:
    """A listing of a place that tells no hashes."""
    return ListingTotals(listed=Count(), hash_kind=None)


def pairs(box: Icebox, *, mark: str = MARK) -> list[Pair]:
    """Both files, as a listing shows them with this mark."""
    files = [found(box.root, name) for name in NAMES]
    return [
        (
            file,
            (
                Listed(
                    path=file.path,
                    size_bytes=file.size_bytes,
                    digest="",
                    version=mark,
                    odd_name=b"",
                ),
            ),
        )
        for file in files
    ]


async def proven(box: Icebox, *, mark: str = MARK, again: bool = False) -> list[str]:
    """Of each file the mark that its proof has, or why it stays."""
    results = await prove(box.run(), pairs(box, mark=mark), (nothing_free(),), again=again)
    name = place_name(NOWHERE)
    return [one.stores[name].mark if isinstance(one, Proven) else one.reason for one in results]


async def test_a_store_is_asked_again_when_folders_changed_their_names(box: Icebox) -> None:
    assert await proven(box) == [MARK, MARK]
    assert (await proven(box), box.asked) == ([MARK, MARK], 1)
    for one, other in (("a", "t"), ("b", "a"), ("t", "b")):
        (box.root / one).rename(box.root / other)
    assert await proven(box) == [Skip.OTHER_CONTENT] * 2


async def test_who_verifies_asks_the_store_whatever_it_has_said(box: Icebox) -> None:
    await proven(box)
    box.stored[b"a/x"] = b"ONE"
    assert await proven(box) == [MARK, MARK]
    assert await proven(box, again=True) == [Skip.OTHER_CONTENT, MARK]
    assert await proven(box) == [Skip.OTHER_CONTENT, MARK]


async def test_a_mark_that_is_younger_than_its_listing_is_not_kept(box: Icebox) -> None:
    assert await proven(box, mark="999999999") == ["", ""]
    assert (await proven(box), box.asked) == ([MARK, MARK], 2)


async def test_content_is_read_when_a_change_would_have_another_mark(
    box: Icebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, read_at = nothing_free(), []

    async def content_hash(*_: Any) -> None:
        read_at.append(time.monotonic())

    async def hashless(*given: Any) -> dict[bytes, asking.Told]:
        return {path: said._replace(digest="") for path, said in (await box.ask(*given)).items()}

    monkeypatch.setattr(asking, "content_hash", content_hash)
    monkeypatch.setattr(proof, "MARKS_APART_SECONDS", 0.05)
    run = replace(box.run(proof=Proof.COMPARE), ask=hashless)
    results = await prove(run, pairs(box), (listing,))
    assert all(isinstance(one, Stays) for one in results)
    assert min(read_at) >= listing.ended + proof.MARKS_APART_SECONDS


async def test_what_is_of_use_is_noted_so_but_not_by_each_run(box: Icebox) -> None:
    today = day_of(box.run().ctx.now())

    async def days() -> set[int]:
        async with box.services.database.read() as session:
            return set(await session.scalars(select(TierProofRow.used_day)))

    await proven(box)
    assert await days() == {today}
    for day, noted in ((today - 30, today - 30), (today - 31, today)):
        async with box.services.database.write(SYSTEM) as work:
            await work.session.execute(update(TierProofRow).values(used_day=day))
        await proven(box)
        assert (await days(), box.asked) == ({noted}, 1)
