"""Part layouts: guessed from size and number of parts, proved by the ETag."""

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from holdfast.migrations.copier_layout import (
    MIB,
    LayoutProbe,
    is_md5,
    md5_of,
    multipart_etag,
    part_count,
    part_size_guesses,
    uniform,
)

LAYOUTS = st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=8)


def etag_of(content: bytes, layout: list[int]) -> str:
    md5s, first = [], 0
    for size in layout:
        md5s.append(hashlib.md5(content[first : first + size]).digest())
        first += size
    return multipart_etag(md5s)


def fed(probe: LayoutProbe, content: bytes, seed: int) -> LayoutProbe:
    cuts, first = random.Random(seed), 0
    while first < len(content):
        size = cuts.randint(1, 40)
        probe.feed(content[first : first + size])
        first += size
    return probe


def test_etags_tell_how_an_object_was_uploaded() -> None:
    whole = md5_of(b"x").hex()
    assert (is_md5(whole), part_count(whole)) == (True, 0)
    assert (is_md5(f"{whole}-12"), part_count(f"{whole}-12")) == (False, 12)
    assert (is_md5("opaque"), part_count("opaque-3")) == (False, 0)


@given(layout=LAYOUTS, others=st.lists(LAYOUTS, max_size=3), seed=st.integers(0, 99))
def test_the_layout_that_has_the_etag_is_found(
    layout: list[int], others: list[list[int]], seed: int
) -> None:
    content = random.Random(seed).randbytes(sum(layout))
    wrong = [other for other in others if other != layout]
    probe = fed(LayoutProbe(etag_of(content, layout), [*wrong, layout]), content, seed)
    assert probe.found() == layout


@given(layout=LAYOUTS, seed=st.integers(0, 99))
def test_no_layout_is_found_for_another_content(layout: list[int], seed: int) -> None:
    content = random.Random(seed).randbytes(sum(layout))
    other = bytes([content[0] ^ 1]) + content[1:]
    assert fed(LayoutProbe(etag_of(content, layout), [layout]), other, seed).found() is None


@given(size=st.integers(1, 10**12), part=st.integers(1, 10**9))
def test_equal_parts_make_up_the_object(size: int, part: int) -> None:
    part = max(part, size // 10_000)
    sizes = uniform(size, part)
    assert sum(sizes) == size
    assert set(sizes[:-1]) <= {part}
    assert 0 < sizes[-1] <= part


@given(part_mib=st.sampled_from([5, 8, 15, 16, 50, 64]), parts=st.integers(2, 3000), rest=st.data())
def test_usual_sizes_are_among_the_guesses(part_mib: int, parts: int, rest: st.DataObject) -> None:
    part = part_mib * MIB
    size = part * (parts - 1) + rest.draw(st.integers(1, part))
    guesses = part_size_guesses(size, parts)
    assert part in guesses
    assert all(len(uniform(size, guess)) == parts for guess in guesses)


def test_the_size_that_fitted_last_is_guessed_first() -> None:
    odd = 7_000_001
    assert part_size_guesses(odd * 2 + 5, 3, first=odd)[0] == odd


def test_one_part_is_the_object() -> None:
    assert part_size_guesses(12345, 1) == [12345]
