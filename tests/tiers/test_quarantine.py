"""One file's way into quarantine and back, with somebody in between."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.kernel.stores.model import HashKind
from holdfast.tiers import hashing, holding, renaming
from holdfast.tiers.holding import Stays
from holdfast.tiers.model import QUARANTINE, Skip
from holdfast.tiers.quarantine import Kept, Quarantine
from holdfast.tiers.renaming import CannotRefuse, rename_new
from holdfast.tiers.running import Stop
from tests.tiers.icebox import contents, found, md5

JOB = "0123456789"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "d").mkdir(parents=True)
    (place / "d/file").write_bytes(b"content")
    return place


@pytest.fixture
def box(root: Path) -> Iterator[Quarantine]:
    with Quarantine(bytes(root), JOB) as opened:
        yield opened


def take(box: Quarantine, root: Path, name: bytes = b"d/file") -> int:
    """In, and its time of change there."""
    held = box.take([found(root, name)])
    return box.release(held)


def just_before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Something happens right before the first call of a function of `renaming`."""
    real = getattr(renaming, name)
    waiting = [act]

    def call(*args: object) -> object:
        if waiting:
            waiting.pop()()
        return real(*args)

    monkeypatch.setattr(renaming, name, call)


def swap(path: Path) -> None:
    path.rename(path.with_name("original"))
    path.write_bytes(b"another")


def test_a_file_swapped_in_by_name_is_put_back(
    box: Quarantine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = found(root, b"d/file")
    just_before(monkeypatch, "rename_new", lambda: swap(root / "d/file"))
    with pytest.raises(Stays) as stays:
        box.take([file])
    assert stays.value.reason is Skip.CHANGED
    assert contents(root) == {b"d/file": b"another", b"d/original": b"content"}


def test_a_swapped_in_file_whose_place_is_taken_again_is_kept_beside(
    box: Quarantine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = found(root, b"d/file")
    real = rename_new
    monkeypatch.setattr(renaming, "rename_new", lambda *to: and_a_third(real, root, to))
    swapped = (root / "d/file").rename(root / "d/original")
    with pytest.raises(Stays):
        box.take([file])  # it is not there
    swapped.rename(root / "d/file")

    file = found(root, b"d/file")
    with pytest.raises(Stays) as stays:
        box.take([file])
    assert "it lies at file.holdfast-01234567" in stays.value.detail
    assert sorted(contents(root).values()) == [b"another", b"content", b"third"]


def and_a_third(real: Callable[..., None], root: Path, to: tuple[object, ...]) -> None:
    """Another file is moved than was looked at, and then there is one more in its place."""
    if not (root / "d/original").exists():
        swap(root / "d/file")
        real(*to)
        (root / "d/file").write_bytes(b"third")
        return
    real(*to)


def test_a_folder_that_is_renamed_meanwhile_keeps_its_file(
    box: Quarantine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = found(root, b"d/file")
    just_before(monkeypatch, "rename_new", lambda: (root / "d").rename(root / "e"))
    with pytest.raises(Stays):
        box.take([file])
    assert contents(root) == {b"e/file": b"content"}


def test_who_opens_it_meanwhile_waits_and_gets_it_in_its_place(box: Quarantine, root: Path) -> None:
    held = box.take([found(root, b"d/file")])
    inside = root / QUARANTINE / JOB / "d/file"
    other = threading.Thread(target=lambda: inside.write_bytes(b"changed"))
    other.start()
    while holding.is_leased(held.descriptor, holding.ALONE):
        pass
    with pytest.raises(Stays) as stays:
        box.release(held)
    other.join()
    assert stays.value.reason is Skip.IN_USE
    assert contents(root) == {b"d/file": b"changed"}


def test_it_comes_back_beside_what_is_in_its_place(box: Quarantine, root: Path) -> None:
    take(box, root)
    (root / "d/file").write_bytes(b"new")
    with pytest.raises(Stays) as stays:
        box.put_back(b"d/file")
    assert stays.value.reason is Skip.EXISTS
    (root / "d/file.holdfast-01234567").mkdir()
    assert box.put_back(b"d/file", beside=True) == b"d/file.holdfast-01234567-2"


def test_it_is_in_its_place_already_under_a_second_name(box: Quarantine, root: Path) -> None:
    take(box, root)
    inside = root / QUARANTINE / JOB / "d/file"
    os.link(inside, root / "d/file")
    assert box.put_back(b"d/file") == b"d/file"
    assert not inside.exists()
    assert contents(root) == {b"d/file": b"content"}


def test_the_longest_names_and_the_deepest_paths(box: Quarantine, root: Path) -> None:
    name = b"\xc3\xa9" * 127 + b"x"
    path = b"/".join([name[:200]] * 30 + [name])
    descriptor = os.open(root, os.O_RDONLY)
    for part in path.split(b"/")[:-1]:
        os.mkdir(part, dir_fd=descriptor)
        deeper = os.open(part, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    seen = os.stat(name, dir_fd=descriptor)
    shallow = found(root, b"d/file")
    file = shallow.__class__(
        path=path,
        size_bytes=0,
        device=seen.st_dev,
        inode=seen.st_ino,
        links=1,
        mtime_ns=seen.st_mtime_ns,
        ctime_ns=seen.st_ctime_ns,
        atime_ns=seen.st_atime_ns,
    )
    box.release(box.take([file]))
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    landed = box.put_back(path, beside=True).rpartition(b"/")[2]
    assert len(landed) == 255
    assert landed.endswith(b".holdfast-01234567")
    os.close(descriptor)


def test_it_is_removed_only_as_it_was_moved(box: Quarantine, root: Path) -> None:
    file = found(root, b"d/file")
    kept = Kept(
        path=b"d/file",
        inode=file.inode,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        ctime_ns=take(box, root),
    )
    inside = root / QUARANTINE / JOB / "d/file"
    inside.chmod(0o600)
    with pytest.raises(Stays) as stays:
        box.remove([kept])
    assert stays.value.reason is Skip.CHANGED
    assert inside.read_bytes() == b"content"


def test_what_cannot_go_back_keeps_its_folder(box: Quarantine, root: Path) -> None:
    take(box, root)
    (root / "d").rmdir()
    (root / "d").write_bytes(b"a file")
    assert box.clear() == []
    assert (root / QUARANTINE / JOB / "d/file").read_bytes() == b"content"
    (root / "d").unlink()
    assert box.clear() == [(b"d/file", b"d/file")]
    assert box.jobs() == []
    box.remove_empty()
    assert box.jobs() is None


def test_hashing_ends_when_it_is_stopped(root: Path) -> None:
    (root / "big").write_bytes(b"x" * 3_000_000)
    file = found(root, b"big")
    opened = holding.open_root(bytes(root))
    assert hashing.hash_file(opened, file, [HashKind.MD5], Stop()) == {
        HashKind.MD5: md5(b"x" * 3_000_000)
    }
    stop = Stop()
    stop.now()
    with pytest.raises(Stays):
        hashing.hash_file(opened, file, [HashKind.MD5], stop)
    os.close(opened)


def test_a_change_in_the_future_is_not_believed() -> None:
    with pytest.raises(Stays, match="clock"):
        holding.wait_until_old(2**62)


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_that_renames_only_over_things(
    box: Quarantine, root: Path, monkeypatch: pytest.MonkeyPatch, *, taken: bool
) -> None:
    def refused(*_: object) -> None:
        raise CannotRefuse(errno.EINVAL, "no flags here")

    monkeypatch.setattr(renaming, "rename_new", refused)
    file = found(root, b"d/file")
    take(box, root)
    assert contents(root) == {}
    if taken:
        (root / "d/file").write_bytes(b"new")
        with pytest.raises(Stays):
            box.put_back(b"d/file")
        (root / "d/file").unlink()
    box.put_back(b"d/file")
    again = found(root, b"d/file")
    assert (again.inode, again.mtime_ns, again.links) == (file.inode, file.mtime_ns, 1)
    assert contents(root) == {b"d/file": b"content"}


def test_what_is_left_in_quarantine_is_never_replaced(
    box: Quarantine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CannotRefuse(errno.EINVAL, "no flags here")

    take(box, root)
    (root / "d/file").write_bytes(b"new")
    for _ in range(2):
        with pytest.raises(Stays):
            box.take([found(root, b"d/file")])
        monkeypatch.setattr(renaming, "rename_new", refused)
    assert contents(root) == {b"d/file": b"new"}
    assert contents(root / QUARANTINE / JOB) == {b"d/file": b"content"}
