"""Differences are cut into lines, sides and files without mistaking content for heads."""

import difflib

from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.web.console.diffs import diff_files, diff_lines, diff_sides

TEXTS = st.lists(st.sampled_from(["-- a", "++ b", "@@ -1 +1 @@", "", "x", "y"]), max_size=12)


def unified(before: list[str], after: list[str], name: str = "f") -> str:
    lines = difflib.unified_diff(before, after, f"1/{name}", f"2/{name}", lineterm="", n=100)
    return "".join(f"{line}\n" for line in lines)


@given(TEXTS, TEXTS)
def test_both_sides_are_the_two_texts(before: list[str], after: list[str]) -> None:
    left, right = diff_sides(unified(before, after))
    assert len(left) == len(right)
    if before != after:
        for side, text in ((left, before), (right, after)):
            kept = [line for line in side if line.kind not in {"gap", "hunk"}]
            assert [line.text if line.text != " " else "" for line in kept] == text


def test_a_removed_line_that_looks_like_a_head_is_a_removed_line() -> None:
    kinds = [line.kind for line in diff_lines(unified(["-- a", "b"], ["b"]))]
    assert kinds == ["file", "file", "hunk", "del", "same"]


def test_a_changed_line_stands_beside_the_old_one_and_a_new_one_beside_a_gap() -> None:
    left, right = diff_sides(unified(["a", "b", "c"], ["a", "B", "new", "c"]))
    assert [line.kind for line in left] == ["hunk", "same", "del", "gap", "same"]
    assert [line.kind for line in right] == ["hunk", "same", "add", "add", "same"]


def test_a_difference_of_many_files_is_cut_into_each() -> None:
    text = unified(["-- a/x"], ["b"], "pools/one.conf") + unified([], ["n"], "two.conf")
    found = diff_files(text)
    assert [file.path for file in found] == ["pools/one.conf", "two.conf"]
    assert found[0].text + found[1].text == text
    assert diff_files("") == []
