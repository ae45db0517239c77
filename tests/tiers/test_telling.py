"""Who asked for it is told how a run went: by mail, or at an address of Apprise."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_string
from pathlib import Path

import pytest
from pydantic import SecretStr

from holdfast.kernel.db import Database
from holdfast.kernel.errors import Invalid
from holdfast.kernel.jobs import service as job_service
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import EndedJob
from holdfast.kernel.notify import NotTold, check_addresses, kind_of, mail_to
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import jobs, telling
from holdfast.tiers.model import Action
from holdfast.tiers.tables import TierRunRow
from tests.kernel.api import services_for
from tests.tiers.scene import Scene, a_scene


@dataclass
class Mailbox:
    """A mail server that takes everything."""

    port: int = 0
    mails: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation."""
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode():
            if line.upper().startswith("DATA"):
                writer.write(b"354 go on\r\n")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if line.upper().startswith("QUIT") else b"250 fine\r\n")
            await writer.drain()
            if line.upper().startswith("QUIT"):
                break
        writer.close()


@contextlib.asynccontextmanager
async def a_mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box


async def an_ended_run(scene: Scene, *addresses: str) -> str:
    """A pull that failed with something left; its job's id."""
    tier = await scene.a_tier()
    answer = await scene.asked(Action.PULL, tier.root + b"/a", notify=addresses)
    left = {"files": 1, "bytes": 7}
    async with scene.services.database.write(SYSTEM) as work:
        run = await work.session.get(TierRunRow, answer.job_id)
        assert run is not None
        told = {"files": 3, "bytes": 30, "skipped": {"not on the store": left}}
        run.outcome = json.dumps(told)
    return answer.job_id


def a_context(scene: Scene, tmp_path: Path) -> JobContext:
    return JobContext(
        job_id="tell",
        kind=telling.TELL,
        services=scene.services,
        job_log=JobLog(tmp_path / "tell.log"),
        steps=PlainSteps(),
        fence=NoFence(),
    )


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
async def test_each_address_is_told_and_a_silent_one_keeps_nobody_from_it(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    async with a_mailbox() as box:
        url = SecretStr(f"mailto://127.0.0.1:{box.port}?from=holdfast@example.org&mode=insecure")
        scene.services = services_for(database, tmp_path / "own", mail_url=url)
        silent = "json://secret:word@127.0.0.1:1/nobody"
        job_id = await an_ended_run(scene, silent, "someone@example.org")
        with pytest.raises(NotTold, match="1 of 2"):
            await telling.tell(a_context(scene, tmp_path), job_id=job_id)
    (mail,) = [message_from_string(text) for text in box.mails]
    assert mail["To"] == "someone@example.org"
    assert "pull of photos: waiting" in str(mail["Subject"])
    text = "".join(str(part.get_payload(decode=True)) for part in mail.walk())
    assert "3 files of 30 bytes" in text
    assert "not on the store" in text
    log = (tmp_path / "tell.log").read_text()
    assert "address 2 (mail) was told" in log
    assert "secret" not in log
    assert "someone" not in log


@pytest.mark.parametrize("addresses", [(), ("json://127.0.0.1:1/",)])
async def test_a_run_that_ends_is_told_when_somebody_asked_for_it(
    database: Database, tmp_path: Path, addresses: tuple[str, ...]
) -> None:
    scene = await a_scene(database, tmp_path)
    job_id = await an_ended_run(scene, *addresses)
    ended = EndedJob(
        id=job_id, kind=jobs.PULL, args={}, state=JobState.DONE, error=None, created_by=""
    )
    async with database.write(SYSTEM) as work:
        await jobs.note_the_end(work, ended)
    async with database.read() as session:
        found, _ = await job_service.list_jobs(session, kind=telling.TELL)
    assert [job.args for job in found] == [{"job_id": job_id}] * len(addresses)


async def test_nobody_is_told_of_a_run_that_was_forgotten(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    await telling.tell(a_context(scene, tmp_path), job_id="absent")


def test_an_address_is_a_mail_address_or_one_of_apprise() -> None:
    check_addresses(["a@b.org", "json://host/path", "MSTeams://a/b"], "mailto://x")
    for wrong in ("", "someone", "a@b@c", "://x", "a b@c.org", "Syslog://local"):
        with pytest.raises(Invalid) as refused:
            check_addresses([wrong], "mailto://x")
        assert not wrong or wrong not in refused.value.message
    with pytest.raises(Invalid, match="no mail server"):
        check_addresses(["a@b.org"], "")


def test_of_an_address_only_its_kind_is_said() -> None:
    assert kind_of("a@b.org") == "mail"
    assert kind_of("json://user:pass@host") == "json"
    assert mail_to("mailto://h", "a+b@c.org") == "mailto://h?to=a%2Bb%40c.org"
    assert mail_to("mailto://h?from=x", "a@c.org") == "mailto://h?from=x&to=a%40c.org"
