"""Two listings, and what is different between them."""

import tracemalloc
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Unreachable
from holdfast.kernel.stores.s3.model import BucketTotals, ListedObject
from holdfast.migrations.compare import Action, Comparison, ComparisonTotals, Copied, Difference
from tests.servers.disks import fill, small_disk

KEYS = st.text(min_size=1, max_size=5)
BUCKETS = st.dictionaries(KEYS, st.tuples(st.sampled_from(["e1", "e2"]), st.integers(0, 2)))
MIB = 1024 * 1024


class Listed(S3Client):
    """A bucket that is nothing but its listing."""

    def __init__(self, pages: list[list[ListedObject]]) -> None:
        super().__init__("http://127.0.0.1:1", "", "")
        self._pages = pages

    async def list_objects(
        self, bucket: str, *, prefix: str = "", by_folder: bool = False
    ) -> AsyncIterator[list[ListedObject]]:
        for page in self._pages:
            yield page


def a_bucket(objects: Mapping[str, tuple[str, int]], *, modified: int = 0) -> Listed:
    listed = [ListedObject(key, etag, size, modified) for key, (etag, size) in objects.items()]
    return Listed([listed[at : at + 2] for at in range(0, len(listed), 2)])


@pytest.fixture
async def comparison(tmp_path: Path) -> AsyncIterator[Comparison]:
    async with Comparison(tmp_path / "scratch.sqlite") as opened:
        yield opened


async def compared(
    comparison: Comparison, source: Listed, destination: Listed
) -> tuple[ComparisonTotals, list[Difference]]:
    totals = await comparison.scan(source, "b", destination, "b")
    return totals, [d async for batch in comparison.differences() for d in batch]


async def test_what_is_missing_is_copied_and_what_is_extra_is_deleted(
    comparison: Comparison,
) -> None:
    source = a_bucket({"same": ("e", 1), "new": ("e", 10), "larger": ("e", 3)})
    destination = a_bucket({"same": ("e", 1), "extra": ("e", 7), "larger": ("e", 2)})
    totals, found = await compared(comparison, source, destination)
    assert {(d.key, d.action) for d in found} == {
        ("new", Action.COPY),
        ("larger", Action.COPY),
        ("extra", Action.DELETE),
    }
    assert totals == ComparisonTotals(
        source=BucketTotals(3, 14),
        destination=BucketTotals(3, 10),
        to_copy=BucketTotals(2, 13),
        to_delete=BucketTotals(1, 7),
        changed=BucketTotals(1, 2),
    )
    assert not totals.equal


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(source=BUCKETS, destination=BUCKETS, order=st.randoms(use_true_random=False))
async def test_the_order_of_listings_does_not_matter(
    tmp_path: Path,
    source: dict[str, tuple[str, int]],
    destination: dict[str, tuple[str, int]],
    order: Random,
) -> None:
    shuffled = list(destination.items())
    order.shuffle(shuffled)
    async with Comparison(tmp_path / "scratch.sqlite") as comparison:
        _, found = await compared(comparison, a_bucket(source), a_bucket(dict(shuffled)))
    assert {d.key for d in found if d.action is Action.COPY} == {
        key for key, value in source.items() if destination.get(key) != value
    }
    assert {d.key for d in found if d.action is Action.DELETE} == destination.keys() - source


async def test_large_objects_come_first(comparison: Comparison) -> None:
    source = a_bucket({"a": ("e", 1), "b": ("e", 20 * MIB), "c": ("e", 2)})
    _, found = await compared(comparison, source, a_bucket({}))
    assert [d.key for d in found] == ["b", "a", "c"]


async def test_differing_etags_are_equal_once_it_was_proved(comparison: Comparison) -> None:
    source, destination = a_bucket({"k": ("opaque", 1)}), a_bucket({"k": ("md5", 1)})
    before, _ = await compared(comparison, source, destination)
    await comparison.remember([Copied("k", "opaque", 0, "md5", "md5")])
    after, _ = await compared(comparison, source, destination)
    assert (before.equal, after.equal) == (False, True)


async def test_what_was_proved_holds_for_those_etags_only(comparison: Comparison) -> None:
    await comparison.remember([Copied("k", "old", 0, "md5", "md5")])
    changed, _ = await compared(
        comparison, a_bucket({"k": ("new", 1)}), a_bucket({"k": ("md5", 1)})
    )
    overwritten, _ = await compared(
        comparison, a_bucket({"k": ("old", 1)}), a_bucket({"k": ("other", 1)})
    )
    assert (changed.equal, overwritten.equal) == (False, False)


async def test_what_was_proved_is_kept_over_a_restart(tmp_path: Path) -> None:
    async with Comparison(tmp_path / "scratch.sqlite") as first:
        await first.remember([Copied("k", "opaque", 0, "md5", "md5")])
    async with Comparison(tmp_path / "scratch.sqlite") as second:
        totals, _ = await compared(
            second, a_bucket({"k": ("opaque", 1)}), a_bucket({"k": ("md5", 1)})
        )
    assert totals.equal


async def test_objects_without_an_etag_are_never_equal_by_themselves(
    comparison: Comparison,
) -> None:
    totals, _ = await compared(comparison, a_bucket({"k": ("", 1)}), a_bucket({"k": ("", 1)}))
    assert totals.to_copy.objects == 1


async def test_an_object_changed_after_its_copy_is_copied_again(comparison: Comparison) -> None:
    await comparison.remember([Copied("k", "e", 1000, "e", "e")])
    same, _ = await compared(
        comparison, a_bucket({"k": ("e", 1)}, modified=1001), a_bucket({"k": ("e", 1)})
    )
    new_headers, _ = await compared(
        comparison, a_bucket({"k": ("e", 1)}, modified=1002), a_bucket({"k": ("e", 1)})
    )
    assert (same.equal, new_headers.equal) == (True, False)


@pytest.mark.parametrize(("source_modified", "equal"), [(900, True), (1000, False), (2000, False)])
async def test_what_is_there_from_before_is_equal_only_when_it_is_younger(
    comparison: Comparison, source_modified: int, equal: bool
) -> None:
    source = a_bucket({"k": ("e", 1)}, modified=source_modified)
    found, _ = await compared(comparison, source, a_bucket({"k": ("e", 1)}, modified=1000))
    assert found.equal is equal


async def test_a_copy_of_ours_is_equal_whatever_the_clocks_say(comparison: Comparison) -> None:
    await comparison.remember([Copied("k", "e", 2000, "e", "e")])
    source = a_bucket({"k": ("e", 1)}, modified=2000)
    found, _ = await compared(comparison, source, a_bucket({"k": ("e", 1)}, modified=1000))
    assert found.equal


async def test_unfinished_writes_are_not_copied_but_removed(comparison: Comparison) -> None:
    name = "folder/.tmp." + "0" * 32
    unfinished, real = a_bucket({name: ("", 5)}), a_bucket({name: ("e", 5)})
    ignored, _ = await compared(comparison, unfinished, a_bucket({}))
    counted, _ = await compared(comparison, real, a_bucket({}))
    removed, _ = await compared(comparison, a_bucket({}), unfinished)
    assert (ignored.source.objects, counted.source.objects) == (0, 1)
    assert removed.to_delete.objects == 1


async def test_memory_does_not_grow_with_the_bucket(comparison: Comparison) -> None:
    class Huge(Listed):
        async def list_objects(
            self, bucket: str, *, prefix: str = "", by_folder: bool = False
        ) -> AsyncIterator[list[ListedObject]]:
            for page in range(100):
                yield [ListedObject(f"{page:04d}/{n:05d}", "e" * 32, 1) for n in range(1000)]

    tracemalloc.start()
    totals = await comparison.scan(Huge([]), "b", a_bucket({}), "b")
    found = [len(batch) async for batch in comparison.differences()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert totals.to_copy.objects == sum(found) == 100_000
    assert peak < 10 * MIB


async def test_a_server_that_does_not_answer_is_named_by_its_own_error(
    comparison: Comparison, free_port: int
) -> None:
    async with S3Client(f"http://127.0.0.1:{free_port}", "", "") as dead:
        with pytest.raises(S3Unreachable):
            await comparison.scan(dead, "b", dead, "b")


@pytest.mark.real
async def test_a_full_disk_is_a_thing_to_wait_for(tmp_path: Path) -> None:
    many = a_bucket({f"{number:05d}" * 20: ("e", 1) for number in range(20_000)})
    with small_disk(tmp_path / "disk", size_mib=8):
        async with Comparison(tmp_path / "disk" / "scratch.sqlite") as comparison:
            make_room = fill(tmp_path / "disk")
            with pytest.raises(Unavailable, match=r"scratch\.sqlite"):
                await comparison.scan(many, "b", a_bucket({}), "b")
            make_room()
            assert not (await comparison.scan(a_bucket({}), "b", a_bucket({}), "b")).source.objects
