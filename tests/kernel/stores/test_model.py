"""Rules of stores that need nothing but values."""

import pytest

from holdfast.kernel.errors import Invalid
from holdfast.kernel.stores.model import (
    LONGEST_PATH_BYTES,
    checked_path,
    checked_prefix,
    is_temporary,
    temporary_name,
)


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


def test_a_prefix_is_a_path_or_empty() -> None:
    assert checked_prefix("") == ""
    assert checked_prefix("a/b/") == checked_prefix("a/b") == "a/b"
    with pytest.raises(Invalid, match="not a path"):
        checked_prefix("a/../b")


def test_a_temporary_name_is_known_again_and_no_other() -> None:
    assert is_temporary(temporary_name("0123456789abcdef"))
    assert not is_temporary("0123456789abcdef")
