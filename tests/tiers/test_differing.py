"""What sizes and times say of a file that is on both sides."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.tiers import browsing
from holdfast.tiers.differing import differences, seem_to_differ
from tests.tiers.trees import a_database

SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("mine", "its", "kept", "uploaded"),
    [
        ((1, 0), (2, 0), True, True),
        ((1, 0), (1, 2), False, False),
        ((1, 3), (1, 0), None, None),
        ((1, 0), (1, 3), None, False),
        ((1, 0), (1, None), False, False),
    ],
)
def test_what_times_say_depends_on_whose_they_are(
    mine: tuple[int, int],
    its: tuple[int, int | None],
    kept: bool | None,
    uploaded: bool | None,
) -> None:
    here = browsing.Seen(mine[0], modified_ns=mine[1] * SECOND_NS)
    there = browsing.Seen(its[0], modified_ns=None if its[1] is None else its[1] * SECOND_NS)
    assert seem_to_differ(here, there, keeps_times=True) is kept
    assert seem_to_differ(here, there, keeps_times=False) is uploaded
    assert seem_to_differ(here, browsing.Seen(mine[0], is_link=True), keeps_times=True) is True


async def test_the_time_of_a_server_is_not_taken_for_a_files_own(
    sqlite_template: Path, tmp_path: Path
) -> None:
    both = {b"a": (browsing.Seen(1, modified_ns=0), browsing.Seen(1, modified_ns=3 * SECOND_NS))}
    async with a_database(sqlite_template, tmp_path) as database:
        for kind, kept in (("swift", False), ("s3", False), ("local", True), ("azureblob", True)):
            place = Place(name="store", kind=kind, remote=Remote(kind, {}, ""), s3=None)
            assert ("--use-server-modtime" in browsing._times(place)) is not kept
            assert await _told(database, place, both) == {b"a": None if kept else False}


async def _told(
    database: Database, place: Place, both: dict[bytes, tuple[browsing.Seen, browsing.Seen]]
) -> dict[bytes, bool | None]:
    async with database.read() as session:
        return await differences(session, 1, place, both)
