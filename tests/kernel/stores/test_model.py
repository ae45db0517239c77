"""Rules of stores that need nothing but values."""

import pytest

from holdfast.kernel.errors import Invalid
from holdfast.kernel.stores.model import LONGEST_PATH_BYTES, checked_path


@pytest.mark.parametrize("path", ["a", "a/b.txt", "a b/ü", "a..b/.hidden"])
def test_a_path_below_the_root_is_taken(path: str) -> None:
    assert checked_path(path) == path


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/../b", ".", "a\0b", "a/"])
def test_a_path_that_leaves_its_place_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="not a path"):
        checked_path(path)


def test_a_path_has_its_longest() -> None:
    assert checked_path("x" * LONGEST_PATH_BYTES)
    with pytest.raises(Invalid, match="at most"):
        checked_path("x" * (LONGEST_PATH_BYTES + 1))
