"""What counts as a proof, asked of real servers: SFTP with and without hashes, S3."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel import process
from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.tiers import asking
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import FileState, Proof, Skip
from holdfast.tiers.names import s3_key, to_text
from holdfast.tiers.planning import plan_freeze
from tests.servers.s3 import S3Server, nanio_server
from tests.servers.sftp import SftpServer, sftp_server
from tests.tiers.icebox import Icebox, an_icebox, at, grow_cold, told
from tests.tiers.trees import BUCKET, a_database, an_s3_place

pytestmark = pytest.mark.real

ODD = (b"d/new\nline", b"quo'te\"", b"-dash", b"bad\xdfbyte", b"sym\xe2\x90\x8a", b"se;mi, co")
PART = 5 * 1024 * 1024


@pytest.fixture
async def box(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Icebox]:
    async with a_database(sqlite_template, tmp_path) as database:
        made = await an_icebox(database, tmp_path)
        build_hub(made.services)
        yield made
        await made.services.get(RcloneHub).stop()


def an_sftp_store(server: SftpServer, **options: str) -> Place:
    remote = Remote("sftp", {**server.options, **options}, "files")
    return Place(name="sftp", kind="sftp", remote=remote, s3=None)


async def reasons(box: Icebox, **options: Any) -> dict[bytes, str]:
    """Why each file stays; "" for what is planned."""
    run = box.run(**options)
    plan = await plan_freeze(run, (b"",))
    said = told(run)
    assert plan.files + len(said) == len(box.stored)
    return {name: said.get(to_text(name), ("", ""))[1] for name in box.stored}


@pytest.fixture
def checkers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each question to rclone: how many connections it may make."""
    seen: list[int] = []

    def stream(words: list[str], **named: Any) -> Any:
        seen.extend(int(word[11:]) for word in words if word.startswith("--checkers="))
        return process.stream(words, **named)

    monkeypatch.setattr(asking, "stream", stream)
    return seen


async def test_sftp_with_hashes_and_without(
    box: Icebox, tmp_path: Path, checkers: list[int]
) -> None:
    async with sftp_server(tmp_path / "sftp") as server:
        box.put(*ODD, b"short", b"other", b"absent")
        for name, content in box.stored.items():
            path = at(server.files, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        os.truncate(server.files / "short", 3)
        (server.files / "other").write_bytes(b"x" * len(box.stored[b"other"]))
        (server.files / "absent").unlink()
        grow_cold(box.root)

        box.places = (an_sftp_store(server),)
        bad = {b"short": Skip.OTHER_SIZE, b"absent": Skip.MISSING_ON_STORE}
        assert await reasons(box) == {
            **dict.fromkeys([*ODD, b"other"], Skip.NOT_PROVABLE),
            **bad,
        }
        by_reading = await reasons(box, proof=Proof.COMPARE)
        assert by_reading == {**dict.fromkeys(ODD, ""), b"other": Skip.OTHER_CONTENT, **bad}

        box.places = (an_sftp_store(server, shell_type="unix"),)
        hashed = await reasons(box)
        assert hashed == by_reading

        run = box.run(undo_hours=1e-9)
        await freeze(run, await plan_freeze(run, (b"",)))
        copy = server.files / "-dash"
        copy.write_bytes(b"x" * copy.stat().st_size)
        await check_emptied(box, changed=b"-dash")
        assert checkers[-3:] == [1] * 3  # of three questions at once


async def check_emptied(box: Icebox, *, changed: bytes) -> None:
    """Of what is in quarantine all goes, but what its store has another content of by now."""
    waiting = len(await box.states())
    outcome = await empty_due(box.run())
    assert outcome.files == waiting - 1
    assert outcome.skipped == {Skip.OTHER_CONTENT: (1, len(box.stored[changed]))}
    assert (await box.states())[changed] == FileState.RESTORED
    assert box.local[changed] == box.stored[changed]


async def test_sftp_that_goes_away_later_removes_nothing(box: Icebox, tmp_path: Path) -> None:
    async with sftp_server(tmp_path / "sftp") as server:
        box.put(b"a", b"b")
        for name, content in box.stored.items():
            at(server.files, name).write_bytes(content)
        grow_cold(box.root)
        box.places = (an_sftp_store(server, shell_type="unix"),)
        run = box.run(undo_hours=1e-9)
        assert (await freeze(run, await plan_freeze(run, (b"",)))).files == 2
    with pytest.raises(AppError):
        await empty_due(box.run())
    assert set((await box.states()).values()) == {FileState.QUARANTINED}
    assert box.local == {}


async def test_s3_by_etag_by_what_rclone_keeps_and_by_reading(box: Icebox, tmp_path: Path) -> None:
    async with nanio_server(tmp_path / "s3") as server:
        await fill(server, box)
        grow_cold(box.root)
        box.places = (an_s3_place(server),)
        bad = {
            b"short": Skip.OTHER_SIZE,
            b"other": Skip.OTHER_CONTENT,
            b"absent": Skip.MISSING_ON_STORE,
            b"parts-wrong": Skip.OTHER_CONTENT,
        }
        good = dict.fromkeys([b"plain", b"d/e", b"bad\xdf", b"parts-told"], "")
        assert await reasons(box) == {**good, b"parts": Skip.NOT_PROVABLE, **bad}
        assert await reasons(box, proof=Proof.COMPARE) == {**good, b"parts": "", **bad}

        run = box.run(undo_hours=1e-9, proof=Proof.COMPARE)
        await freeze(run, await plan_freeze(run, (b"",)))
        async with server.client() as client:
            await client.put(BUCKET, "plain", b"x" * len(box.stored[b"plain"]))
        await check_emptied(box, changed=b"plain")


async def fill(server: S3Server, box: Icebox) -> None:
    box.put(b"plain", b"d/e", b"bad\xdf", b"short", b"other", b"absent")
    box.put(b"parts", b"parts-told", b"parts-wrong", content=b"p" * PART + b"end")
    digest = hashlib.md5(box.stored[b"parts"], usedforsecurity=False).digest()
    async with server.client() as client:
        await client.create_bucket(BUCKET)
        for name, content in box.stored.items():
            key = s3_key(name)
            assert key is not None
            told_md5 = {b"parts-told": digest, b"parts-wrong": digest[::-1]}.get(name)
            if name.startswith(b"parts"):
                headers = (
                    {"x-amz-meta-md5chksum": base64.b64encode(told_md5).decode()}
                    if told_md5
                    else {}
                )
                await in_parts(client, key, content, headers)
            elif name != b"absent":
                stored = {b"short": content[:3], b"other": b"x" * len(content)}.get(name, content)
                await client.put(BUCKET, key, stored)


async def in_parts(client: Any, key: str, content: bytes, headers: Mapping[str, str]) -> None:
    upload = await client.create_multipart(BUCKET, key, headers=headers)
    parts = [
        (number, await client.upload_part(BUCKET, key, upload, number, part))
        for number, part in ((1, content[:PART]), (2, content[PART:]))
    ]
    await client.complete_multipart(BUCKET, key, upload, parts)
