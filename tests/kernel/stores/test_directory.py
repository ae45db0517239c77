"""What only a directory can get wrong."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.errors import Invalid, NotFound, Unavailable
from holdfast.kernel.stores.directory import DirectoryStore
from holdfast.kernel.stores.model import temporary_name

SECRET = "of somebody else"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store's root beside a folder that is none of its business."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(SECRET)
    root = tmp_path / "root"
    root.mkdir()
    return root


async def content() -> AsyncIterator[bytes]:
    yield b"content"


async def test_a_link_to_a_folder_outside_is_not_followed(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    store = DirectoryStore(root)
    for call in (store.stat("link/file"), store.write("link/new", content())):
        with pytest.raises(NotFound):
            await call
    await store.delete("link/file")
    assert (root.parent / "outside" / "file").read_text() == SECRET
    assert [path.name for path in (root.parent / "outside").iterdir()] == ["file"]
    assert [entry async for entry in store.list()] == []


async def test_a_link_to_a_file_is_neither_read_nor_listed_but_replaced(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside" / "file")
    store = DirectoryStore(root)
    with pytest.raises(NotFound):
        async with store.open("link"):
            pass
    assert [entry async for entry in store.list()] == []
    await store.write("link", content())
    assert (root / "link").read_text() == "content"
    assert (root.parent / "outside" / "file").read_text() == SECRET


async def test_what_a_crash_left_of_a_write_is_not_listed(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / temporary_name("0123456789abcdef")).write_text("half")
    (root / "a" / ".holdfast-notes.part").write_text("of a person")
    listed = [entry.path async for entry in DirectoryStore(root).list()]
    assert listed == ["a/.holdfast-notes.part"]


async def test_a_folder_is_not_written_over(root: Path) -> None:
    (root / "folder").mkdir()
    with pytest.raises(Invalid, match="folder"):
        await DirectoryStore(root).write("folder", content())
    assert [path.name for path in root.iterdir()] == ["folder"]


async def test_nothing_is_written_below_a_file(root: Path) -> None:
    (root / "file").write_text("x")
    with pytest.raises(Invalid, match="below a file"):
        await DirectoryStore(root).write("file/below", content())


async def test_a_root_that_is_gone_is_not_an_empty_one(root: Path) -> None:
    store = DirectoryStore(root)
    root.rmdir()
    with pytest.raises(Unavailable, match="not there"):
        [entry async for entry in store.list()]
    with pytest.raises((Unavailable, NotFound)):
        await store.stat("file")
