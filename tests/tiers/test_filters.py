"""rclone's filter rules, compared with what rclone itself makes of thousands of generated ones."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import Invalid
from holdfast.kernel.process import stream
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, find_rclone
from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.tiers.filters import Filters, first_match, literal, needle
from holdfast.tiers.names import as_filtered

PATHS = [
    *(b"a", b"b.txt", b"a.tmp", b"A.TMP", b"d/a", b"d/b.txt", b"d/e/a.tmp", b"d/e/f/x1"),
    *(b"d/e/f/x22", b"e/a", b"e/f/b.txt", b"d.d/a b", b"d.d/a+b", b"[x]", b"{y}", b"q?", b"s*r"),
    *(b"ba\\ck", b"n\nl", b"bad\xdf", b"\xc3\xa9t\xc3\xa9", b"-d/-x", b"a,b", b"aa/bb/cc"),
    *(b"aa/bb/c", b"x\x7fy", b"^c$", b"p|q", b"(r)", b"aa/x.tar.gz", b"DD/A", b"# no", b"a" * 9),
    *("q\u201b".encode() * 2, "\u201b\u201bDF".encode(), b"aa/a/a/a/a", b"x/", b"0_9/a-z"),
]
FILES = [path for path in PATHS if not path.endswith(b"/") and b"q\xe2\x80\x9bq" not in path]
PIECES = [
    *("a", "b", "d", "e", "x", "aa", "bb", ".txt", ".tmp", "/", "/", "*", "**", "***", "?", "[ab]"),
    *("[^a]", "[a-c]", "[!a]", "[^/]", "[\\]]", "[[:alpha:]]", "[[:^alpha:]]", "[[:what:]]"),
    *("[\\w.]", "[b-a]", "[]a]", "[a-]", "[\\d-z]", "{a,b}", "{a*,d}", "{d,e}/", "{a,{b,c}}"),
    *("{{a.*}}", "{{[a-z]+}}", "{{(?i)a}}", "{{x\\d+}}", "{{^d/}}", "{{a|b}}", "{{a{2}}}"),
    *("{{a{2,1}}}", "{{a**}}", "{{a+?}}", "{{(a}}", "{{a)}}", "{{(?=a)}}", "{{(?P<n>a)}}"),
    *("{{(?i:A)b}}", "{{(?s).}}", "{{\\bb}}", "{{\\Bb}}", "{{\\x61}}", "{{\\x{62}}}", "{{\\141}}"),
    *(
        "{{\\Qa+\\E}}",
        "{{\\S}}",
        "{{\\D\\W}}",
        "{{.}}",
        "{{}}",
        "{{$}}",
        "{{\\z}}",
    ),
    *("{{(?U)a+}}", "{{(?m)^a$}}", "{{[^\\n]}}", "{{[\\x61-\\x63]}}", "{{(a|b)*}}", "{{a{,2}}}"),
    *("\\*", "\\[", "\\{", "\\d", "\\y", "\\-", "\\\\", "\\", ".", "+", "(", ")", "|", "^", "$"),
    *("{", "}", "[", "]", ",", "{{", "}}", "}}}", "\u00e9", "\u240a", "\u201b", "\ufffd", "-", " "),
    *("#", "//", "/**", "**/", "/*", "*.", "_", "~", "!", "'", '"', "0", "9"),
]
ODD_LINES = ["!", "# c", "; c", "", "+a", "*", "  - a  ", "-  a", "+ ", "- ", "-", "- #a", "\t- b"]
ROUNDS = 700
SEEDS = (1, 2)


def matches(pattern: str, path: bytes) -> bool:
    return first_match([pattern])(as_filtered(path)) is not None


def takes(*rules: str) -> set[bytes]:
    filters = Filters(rules)
    return {path for path in FILES if filters.takes(path)}


def test_no_rules_take_everything() -> None:
    assert takes() == set(FILES)


def test_the_first_rule_that_matches_decides() -> None:
    assert takes("+ *.txt", "- *") == {path for path in FILES if path.endswith(b".txt")}
    assert takes("- *.txt", "+ /b.txt", "- *") == set()


def test_a_folder_that_is_left_out_is_left_out_whole() -> None:
    assert takes("- /d/") == {path for path in FILES if not path.startswith(b"d/")}
    assert b"d/e/a.tmp" not in takes("- /d/e/**", "+ a.tmp")


def test_an_exclamation_mark_forgets_what_stood_before() -> None:
    assert takes("- *", "!") == set(FILES)


def test_rules_are_given_to_rclone_as_they_are_meant() -> None:
    rules = ["  - *.tmp ", "# note", "", "+ /a"]
    assert Filters(rules).rclone_lines() == ["- *.tmp", "+ /a"]


@pytest.mark.parametrize(
    "rule",
    [
        *("*.tmp", "-*.tmp", "- a\n- b", "- [a", "- a]", "- {a", "- a}", "- ***", "- {{(}}"),
        *("- {{(?=a)}}", "- [b-a]", "- {{a{2,1}}}", "- \\y", "- {{\\pL}}", "- [[:what:]]"),
        "- " + "a" * 70_000,
    ],
)
def test_what_rclone_refuses_is_refused(rule: str) -> None:
    with pytest.raises(Invalid):
        Filters([rule])


def test_a_pattern_of_a_rule_matches_as_a_filter_does() -> None:
    assert matches("*.tmp", b"d/e/a.tmp")
    assert not matches("/*.tmp", b"d/a.tmp")
    assert matches("/d/", b"d/e/f")
    assert matches("n\u240al", b"n\nl")
    with pytest.raises(Invalid):
        first_match(["["])


@given(st.text(alphabet="ab*?[]{}\\,.+()|^$-", min_size=1, max_size=8))
def test_a_literal_pattern_matches_its_own_text_alone(name: str) -> None:
    pattern = "/" + literal(name)
    assert matches(pattern, name.encode())
    assert not matches(pattern, name.encode() + b"a")
    assert not matches(pattern, b"a" + name.encode())


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        *(("*.tmp", b".tmp"), ("/scratch/**", b"scratch/"), ("a*bcd?e", b"bcd"), ("*", b"")),
        *(("x\\*", b"x"), ("dir/{a,b}", b"dir/"), ("x{{a)|(b}}", b""), ("\u00e9t*", b"")),
    ],
)
def test_a_needle_is_the_longest_that_must_be_there(pattern: str, found: bytes) -> None:
    assert needle(pattern) == found


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_no_needle_of_a_rule_is_not_left_out_by_it(seed: int) -> None:
    random = Random(seed)
    left_out = 0
    for _ in range(ROUNDS // 4):
        try:
            filters = Filters(some_rules(random))
        except Invalid:
            continue
        for path in FILES:
            if not filters.takes(path):
                left_out += any(filters.needles)
                assert any(each in path for each in filters.needles), filters.rclone_lines()
    assert left_out


def a_rule(random: Random) -> str:
    if random.random() < 0.05:
        return random.choice(ODD_LINES)
    glob = "".join(random.choice(PIECES) for _ in range(random.randint(1, 5)))
    return random.choice(["- ", "- ", "+ "]) + glob


def some_rules(random: Random) -> list[str]:
    rules = [a_rule(random) for _ in range(random.choice([1, 1, 2, 3]))]
    return [*rules, "- *"] if random.random() < 0.4 else rules


def ours(rules: list[str]) -> set[str] | None:
    """What the rules take; None when they are refused."""
    try:
        filters = Filters(rules)
    except Invalid:
        return None
    return {as_filtered(path) for path in FILES if filters.takes(path)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for path in FILES:
        file = Path(os.fsdecode(os.fsencode(root) + b"/" + path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[RcloneDaemon]:
    async with RcloneDaemon(tmp_path / "d") as running:
        yield running


async def theirs(daemon: RcloneDaemon, tree: Path, rules: list[str], file: Path) -> set[str] | None:
    file.write_text("\n".join(rules) + "\n")
    options = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}
    asked = {"fs": str(tree), "remote": "", "opt": options}
    try:
        found = await daemon.call(
            "operations/list", {**asked, "_filter": {"FilterFrom": [str(file)]}}
        )
    except RcloneFailed:
        return None
    return {item["Path"] for item in found["list"]}


@pytest.mark.real
@pytest.mark.parametrize("seed", SEEDS)
async def test_generated_rules_mean_what_they_mean_to_rclone(
    daemon: RcloneDaemon, tree: Path, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    told = 0
    for _ in range(ROUNDS):
        rules = some_rules(random)
        expected = await theirs(daemon, tree, rules, tmp_path / "rules")
        assert ours(rules) == expected, rules
        told += expected is not None and 0 < len(expected) < len(FILES)
    assert told > ROUNDS / 50


@pytest.mark.real
async def test_rclone_lsf_takes_the_lines_that_filters_give(tree: Path, tmp_path: Path) -> None:
    rules = [" + /d/e/**", "# no", "- *.tmp", "- /d.d/", "- {{[a-b]}}", "+ [a-z]*"]
    file = tmp_path / "rules"
    file.write_text("\n".join(Filters(rules).rclone_lines()) + "\n")
    words = [find_rclone(), "--config=", "lsf", "-R", "--files-only", "--filter-from", str(file)]
    lines = [line async for line in stream([*words, str(tree)], silence_seconds=60)]
    decoded = {line.decode(errors="replace") for line in lines}
    assert decoded == ours(rules)
