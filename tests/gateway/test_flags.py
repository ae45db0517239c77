"""Routing flags on disk: read, written, never mistaken."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.flags import Flag, FlagState, RouteFlags, counter_key
from holdfast.gateway.render_model import pool_alias
from holdfast.kernel.errors import Invalid

ALIASES = st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True)
PORTS = st.integers(1, 65535)
EPOCHS = st.integers(1, 10**17)
STATIC = st.builds(Flag, epoch=EPOCHS, state=st.just(FlagState.STATIC), pool_alias=ALIASES)
SOURCE = st.builds(
    Flag,
    epoch=EPOCHS,
    state=st.just(FlagState.SRC),
    pool_alias=ALIASES,
    target_alias=ALIASES,
    gate_port=st.none() | PORTS,
)
GATED = st.builds(
    Flag,
    epoch=EPOCHS,
    state=st.sampled_from([FlagState.HOLD, FlagState.HOLDD, FlagState.DST]),
    pool_alias=ALIASES,
    target_alias=ALIASES,
    gate_port=PORTS,
)


def static(epoch: int, pool: str = "a") -> Flag:
    return Flag(epoch=epoch, state=FlagState.STATIC, pool_alias=pool)


@pytest.fixture
def flags(tmp_path: Path) -> RouteFlags:
    made = RouteFlags(tmp_path)
    made.ensure()
    return made


@given(STATIC | SOURCE | GATED)
def test_every_flag_survives_its_name(flag: Flag) -> None:
    assert Flag.parse(flag.name) == flag


@given(st.text(max_size=40) | st.from_regex(r"e\d+\.[a-z]+(\.[a-z0-9.]+)*"))
def test_a_name_is_a_flag_with_that_name_or_nothing(name: str) -> None:
    try:
        flag = Flag.parse(name)
    except Invalid:
        return
    assert flag.name == name


@pytest.mark.parametrize(
    "name",
    [
        "e1.static.a.b", "e1.hold.a.b", "e1.dst.a", "e0.static.a", "e01.static.a", "e1.src.a.b.g0",
        "e1.src.a.b.g70000", "e1.other.a", "e1.static.a\n", "e1.static.", "e1.static.a/b", "..",
    ],
)  # fmt: skip
def test_what_nginx_would_misread_is_no_flag(name: str) -> None:
    with pytest.raises(Invalid):
        Flag.parse(name)


def test_a_pool_with_a_dot_or_a_long_name_gets_a_safe_alias() -> None:
    assert pool_alias("plain_pool-1") == "plain_pool-1"
    aliases = {pool_alias(name) for name in ("a.b", "a.c", "x" * 81)}
    assert len(aliases) == 3
    assert all(alias.startswith("p-") and len(alias) == 18 for alias in aliases)


def test_a_flag_is_read_back_and_listed(flags: RouteFlags) -> None:
    flags.set_flag("s3.local", "bkt", static(1))
    flags.set_flag("*.wild", "Upper.Case", static(1, "b"))
    assert flags.get("s3.local", "bkt") == static(1)
    assert flags.get("s3.local", "none") is None
    assert list(flags.list()) == [
        ("*.wild", "Upper.Case", static(1, "b")),
        ("s3.local", "bkt", static(1)),
    ]


def test_a_thousand_flags_are_set_in_one_go(flags: RouteFlags) -> None:
    many = [("v", f"bucket{n}", static(1)) for n in range(1000)]
    flags.set_many(many)
    assert list(flags.list()) == sorted(many)
    flags.set_many([])


def test_an_epoch_is_never_used_again_also_after_removal(flags: RouteFlags) -> None:
    flags.set_flag("v", "bkt", static(1))
    flags.set_flag("v", "bkt", static(2))
    flags.remove("v", "bkt")
    flags.remove("v", "bkt")
    assert flags.get("v", "bkt") is None
    assert flags.next_epoch("v", "bkt") == 3
    with pytest.raises(Invalid):
        flags.set_flag("v", "bkt", static(2, "other"))
    flags.set_flag("v", "bkt", static(3))


def test_an_epoch_that_a_crash_left_unused_is_not_used_either(flags: RouteFlags) -> None:
    flags.set_flag("v", "bkt", static(1))
    (flags.bucket_dir("v", "bkt") / "e2.static.a").mkdir()
    (flags.bucket_dir("v", "bkt") / ".cur.new").symlink_to("e2.static.a")
    assert flags.get("v", "bkt") == static(1)
    assert flags.next_epoch("v", "bkt") == 3
    flags.set_flag("v", "bkt", static(3))
    assert flags.get("v", "bkt") == static(3)


def test_pruned_epochs_stay_used_and_the_live_flag_stays(flags: RouteFlags) -> None:
    for epoch in (1, 2, 3):
        flags.set_flag("v", "bkt", static(epoch))
    flags.prune("v", "bkt", below=99)
    assert [flag.epoch for flag in flags.history("v", "bkt")] == [3]
    flags.remove("v", "bkt")
    flags.prune("v", "bkt", below=99)
    assert flags.history("v", "bkt") == []
    assert flags.next_epoch("v", "bkt") == 4


def test_the_counters_of_older_epochs_include_the_one_for_no_flag(flags: RouteFlags) -> None:
    flags.set_flag("v", "bkt", static(1))
    flags.set_flag("v", "bkt", static(2))
    assert flags.counter_keys("v", "bkt", before=2) == ["v/bkt:default", "v/bkt:e1.static.a"]
    assert counter_key("v", "bkt", None) == "v/bkt:default"


def test_pins_are_kept_by_the_id_as_it_stands_in_a_url(flags: RouteFlags) -> None:
    flags.set_flag("v", "bkt", static(1))
    flags.pin("v", "bkt", "a%2Fb~c==")
    flags.pin("v", "bkt", "second")
    flags.unpin("v", "bkt", "second")
    flags.unpin("v", "bkt", "never")
    assert flags.pins("v", "bkt") == {"a%2Fb~c=="}
    flags.unpin_all("v", "bkt")
    assert flags.pins("v", "bkt") == frozenset()


@pytest.mark.parametrize("upload", ["..", ".", "a/b", "", "x" * 256, "a\0b"])
def test_a_pin_cannot_leave_its_folder(flags: RouteFlags, upload: str) -> None:
    with pytest.raises(Invalid):
        flags.pin("v", "bkt", upload)


@pytest.mark.parametrize(
    ("vhost", "bucket"), [("..", "bkt"), ("a/b", "bkt"), ("v", ".."), ("v", "a/b"), ("", "bkt")]
)
def test_a_flag_cannot_leave_its_folder(flags: RouteFlags, vhost: str, bucket: str) -> None:
    with pytest.raises(Invalid):
        flags.set_flag(vhost, bucket, static(1))


def test_links_that_are_not_ours_are_shown_as_strange(flags: RouteFlags) -> None:
    flags.set_flag("v", "good", static(1))
    for bucket, target in (("odd", "/etc"), ("dangling", "e1.static.a")):
        folder = flags.bucket_dir("v", bucket)
        folder.mkdir()
        (folder / "cur").symlink_to(target)
    assert [bucket for _, bucket, _ in flags.list("v")] == ["dangling", "good"]
    assert {path.parent.name for path, _ in flags.strange()} == {"odd", "dangling"}


def test_removing_a_vhost_removes_its_routes(flags: RouteFlags) -> None:
    flags.set_many([("v", "b1", static(1)), ("v", "b2", static(1)), ("w", "b1", static(1))])
    flags.remove_vhost("v")
    assert [(vhost, bucket) for vhost, bucket, _ in flags.list()] == [("w", "b1")]
