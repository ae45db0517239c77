"""Messages at the end of a job: to a real mail server, and by Apprise to a real web server."""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from holdfast.kernel.clock import now
from holdfast.kernel.config import Settings
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Invalid
from holdfast.kernel.events import events_after
from holdfast.kernel.mail_address import is_mail
from holdfast.kernel.notify import delivery, outbox, sender, tables
from holdfast.kernel.notify.addresses import check_addresses, label, mail_of
from holdfast.kernel.notify.outbox import ADMIN, News, seal_addresses, unseal_addresses
from holdfast.kernel.notify.schemes import SENDERS
from holdfast.kernel.notify.tables import NotificationRow
from holdfast.kernel.process import run
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import services_for
from tests.servers.mailbox import HOST, certificate, mail_server, web_server

NEWS = News(
    job_id="a-job",
    subject="pull of photos/Grüße:\n done",
    text="3 files: 日本",
    page="/web/page",
    bad=False,
)
LOCAL = {"blink1", "dbus", "glib", "gnome", "macosx", "syslog", "windows"}
"""Plugins that talk to this machine."""
LACKING = {"growl", "mqtt", "smpp", "xmpp"}
"""Plugins that need a library which we do not bring."""
PLUGINS = """
import json
from apprise.manager_plugins import NotificationManager
found = NotificationManager()
found.load_modules()
json.dump({s: [found[s].__module__, found[s].__name__] for s in found.schemas()}, open(1, "w"))
"""
TRIES = """
import os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
import sender
sender.keep_to_networks()
for name, act in {
    "a file": lambda: open("/etc/passwd"),
    "a file by a library's path": lambda: open(os.__file__ + "/../../../../etc/passwd"),
    "a folder": lambda: os.listdir("/"),
    "a written file": lambda: open(sys.argv[2], "w"),
    "a low-level file": lambda: os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY),
    "a program": lambda: subprocess.run(["true"]),
    "a shell": lambda: os.system("true"),
    "a local socket": lambda: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket"),
    "a removed file": lambda: os.unlink(sys.argv[2]),
}.items():
    try:
        act()
    except PermissionError as error:
        if error.errno is None:
            continue
    print(name)
import smtplib, wsgiref.util, xmlrpc.client
open(os.devnull, "w")
"""


async def put(services: Services, *addresses: str, news: News = NEWS) -> None:
    async with services.database.write(SYSTEM) as work:
        sealed = seal_addresses(services.sealer, addresses) if addresses else ADMIN
        outbox.put(work, news, addresses=sealed)


async def waiting(services: Services) -> Sequence[str]:
    """Who is still to be told."""
    async with services.database.read() as session:
        row = await session.scalar(select(NotificationRow).where(NotificationRow.addresses != ""))
    return unseal_addresses(services.sealer, row.addresses) if row else []


async def hurry(services: Services, **changes: object) -> None:
    """Let the message be due."""
    async with services.database.write(SYSTEM) as work:
        _ = await work.session.execute(update(NotificationRow).values(due_at=now(), **changes))


async def told(services: Services) -> list[tuple[str, dict[str, Any]]]:
    """Kinds and data of the events."""
    async with services.database.read() as session:
        events = await events_after(session, 0, topics=["notification"])
    return [(event.kind, json.loads(event.data)) for event in events]


def with_mail(database: Database, tmp_path: Path, port: int, **settings: object) -> Services:
    given = {
        "mail_server": HOST,
        "mail_port": port,
        "mail_security": "none",
        "mail_sender": "Holdfast <holdfast@site.test>",
        "public_url": "https://console.test/",
        **settings,
    }
    return services_for(database, tmp_path, **given)


@pytest.mark.real
async def test_mail_that_is_put_off_is_sent_again_once_and_then_forgotten(
    database: Database, tmp_path: Path
) -> None:
    async with mail_server() as box:
        services = with_mail(database, tmp_path, box.port)
        box.says = ["451 later"]
        await put(services, "mailto:someone@example.org?subject=other", "else@example.org")
        await outbox.send_due(services)
        assert box.recipients == [["else@example.org"]]
        assert await waiting(services) == ["mailto:someone@example.org?subject=other"]
        await hurry(services)
        await outbox.send_due(services)
        await outbox.send_due(services)
    assert box.recipients == [["else@example.org"], ["someone@example.org"]]
    first, second = box.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert second["Subject"] == "pull of photos/Grüße: done"
    assert second["From"] == "Holdfast <holdfast@site.test>"
    assert second["Auto-Submitted"] == "auto-generated"
    assert second.get_content().split() == [
        *("3", "files:", "日本"),
        "https://console.test/web/page",
    ]
    assert await waiting(services) == []
    assert [(kind, data["to"], data["attempts"]) for kind, data in await told(services)] == [
        ("sent", "mail", 1),
        ("sent", "mail", 2),
    ]


@pytest.mark.real
async def test_a_recipient_that_is_refused_for_good_is_given_up_at_once(
    database: Database, tmp_path: Path
) -> None:
    async with mail_server() as box:
        services = with_mail(database, tmp_path, box.port)
        box.refuses = {"nobody@example.org": "550 no nobody@example.org here"}
        await put(services, "nobody@example.org", "someone@example.org")
        await outbox.send_due(services)
    assert box.recipients == [["someone@example.org"]]
    assert await waiting(services) == []
    (_, refused), (kind, _) = await told(services)
    assert refused["problem"] == "the mail server refused the recipient (550)"
    assert kind == "sent"


@pytest.mark.real
async def test_the_password_goes_only_to_a_server_with_a_trusted_certificate(
    tmp_path: Path,
) -> None:
    context, trusted = certificate(tmp_path)
    message = delivery.Message(id="1", subject="s", text="t")
    async with mail_server(tls=context) as box:

        async def problem(**more: object) -> str:
            given = {"mail_user": "holdfast", "mail_password": "tsafdloh", "mail_port": box.port}
            settings = Settings(mail_server=HOST, **{**given, **more})  # type: ignore[arg-type]
            return (await delivery.deliver(settings, "a@b.org", message)).problem

        assert "certificate is not trusted" in await problem()
        assert box.logins == []
        assert await problem(mail_ca_file=trusted) == ""
        assert {name for _, name in box.logins} == {"holdfast"}
        wrong = await problem(mail_ca_file=trusted, mail_password="wrong")
        assert wrong == "the mail server refused mail_user and mail_password (535)"
        assert "no TLS" in await problem(mail_security="tls")
        assert "said 530" in await problem(mail_security="none", mail_user="")
    assert len(box.mails) == 1
    assert "cannot be reached: Connection refused" in await problem()
    async with web_server(tls=context) as inbox:
        for more in ("", "?verify=no"):
            address = f"jsons://{HOST}:{inbox.port}/{more}"
            _ = await delivery.deliver(Settings(), address, message)
            assert len(inbox.posts) == bool(more)


@pytest.mark.real
async def test_an_address_of_apprise_is_told_and_a_deaf_one_given_up_without_its_secrets(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    services = services_for(database, tmp_path)
    async with web_server() as inbox:
        address = f"json://user:s3cret-word@127.0.0.1:{inbox.port}/path?+token=s3cret-word"
        await put(services, address)
        await outbox.send_due(services)
        (post,) = inbox.posts
        assert (post["title"], post["type"]) == ("pull of photos/Grüße: done", "success")
        assert "3 files: 日本" in post["message"]
        inbox.status = 500
        news = News(job_id="b-job", subject="s", text="t", page="/", bad=True)
        await put(services, address, news=news)
        await outbox.send_due(services)
        assert await waiting(services) == [address]
        await hurry(services, attempts=len(outbox.PAUSES_SECONDS))
        await outbox.send_due(services)
    attempts = len(outbox.PAUSES_SECONDS) + 1
    assert [post["type"] for post in inbox.posts[1:]] == ["warning"] * 2
    assert await waiting(services) == []
    (_, sent), (kind, data) = await told(services)
    assert sent == {"job_id": "a-job", "to": "json", "attempts": 1}
    assert kind == "given_up"
    assert data == {
        "job_id": "b-job",
        "to": "json",
        "attempts": attempts,
        "problem": "it was not taken, or nobody answered",
    }
    out, err = capfd.readouterr()
    assert "notification given up" in out + err
    for secret in ("s3cret-word", "nobody may see", str(inbox.port)):
        assert secret not in out + err


@pytest.mark.real
async def test_a_message_whose_sender_died_is_sent_when_its_claim_has_ended(
    database: Database, tmp_path: Path
) -> None:
    async with mail_server() as box:
        services = with_mail(database, tmp_path, box.port)
        await put(services, "someone@example.org")
        async with database.write(SYSTEM) as work:
            assert await tables.claim(work.session, now(), now() + timedelta(hours=1))
            assert await tables.claim(work.session, now(), now() + timedelta(hours=1)) is None
        await outbox.send_due(services)
        assert box.mails == []
        async with database.read() as session:
            assert await tables.count(session) == 1
        await hurry(services)
        await outbox.send_due(services)
    assert len(box.mails) == 1


@pytest.mark.real
async def test_the_admin_is_told_of_what_nobody_asked_for_if_there_is_one(
    database: Database, tmp_path: Path
) -> None:
    async with mail_server() as box:
        await put(services := with_mail(database, tmp_path, box.port))
        await outbox.send_due(services)
        assert await waiting(services) == []
        services = with_mail(database, tmp_path, box.port, mail_admin="Admin <root@localhost>")
        await put(services)
        await outbox.send_due(services)
    assert box.recipients == [["root@localhost"]]


async def test_what_is_said_of_an_address_that_is_none_does_not_repeat_it() -> None:
    message = delivery.Message(id="1", subject="s", text="t")
    went = await delivery.deliver(Settings(), "secret address", message)
    assert (bool(went.problem), went.again) == (True, False)
    assert "secret" not in went.problem


async def test_what_cannot_be_sent_here_waits_or_is_given_up(
    database: Database, tmp_path: Path
) -> None:
    services = services_for(database, tmp_path)
    await put(services, "someone@example.org", "file:///tmp/x")
    await outbox.send_due(services)
    assert await waiting(services) == ["someone@example.org"]
    ((kind, data),) = await told(services)
    assert (kind, data["to"]) == ("given_up", "mail")
    services.sealer = Sealer("another secret")
    await hurry(services)
    await outbox.send_due(services)
    async with database.read() as session:
        assert await session.get(NotificationRow, "any") is None
        assert await tables.count(session) == 0


@pytest.mark.parametrize(
    "address",
    [
        "someone@example.org",
        "  first.last+tag@sub.example.co ",
        "mailto:some%2Bone@example.org?subject=x",
        "root@localhost",
        "json://user:word@host/path",
        "JSONS://host",
        "ntfy://topic",
        "mailtos://user:word@example.org?to=a@b.org",
    ],
)
async def test_an_address_that_can_be_told_is_taken(address: str) -> None:
    await check_addresses(None, [address])


@pytest.mark.parametrize(
    "address",
    [
        *("", "someone", "a@b", "a@b@c.org", "a b@c.org", "a@-c.org", ".a@c.org", "a..b@c.org"),
        *(
            "a@c.org\nBcc: b@c.org",
            "ü@c.org",
            "mailto:",
            "mailto:a@b.org,c@d.org",
            "x" * 65 + "@c.org",
        ),
        *("file:///etc/passwd", "syslog://", "dbus://", "windows://", "macosx://", "gnome://"),
        *("exec://x", "custom://s3cret-word@host", "://x", "http://s3cret-word@host/"),
        *("json://", "slack://s3cret-word"),
    ],
)
async def test_an_address_that_cannot_be_told_is_refused_without_its_secrets(address: str) -> None:
    with pytest.raises(Invalid) as refused:
        await check_addresses(None, [address])
    assert "s3cret-word" not in str(refused.value.body())
    assert refused.value.hint


async def test_mail_is_refused_where_none_is_sent(database: Database, tmp_path: Path) -> None:
    settings = services_for(database, tmp_path).settings
    with pytest.raises(Invalid, match="sends no mail"):
        await check_addresses(settings, ["someone@example.org"])
    await check_addresses(with_mail(database, tmp_path, 25).settings, ["someone@example.org"])


def test_of_an_address_only_its_kind_is_told() -> None:
    assert label("someone@example.org") == label("mailto:a@b.org") == "mail"
    assert label("SLACK://a/b/c") == "slack"
    assert label("s3cret://a") == "mail"
    assert mail_of("json://a@b.org") is None
    assert is_mail("a@b.org")
    assert not is_mail("mailto:a@b.org")


@pytest.mark.real
async def test_only_plugins_that_send_over_a_network_may_be_named() -> None:
    ended = await run([sys.executable, "-I", "-c", PLUGINS], timeout_seconds=60)
    plugins: dict[str, list[str]] = json.loads(ended.stdout)
    kept = {s: at for s, at in plugins.items() if at[0].split(".")[2] not in LOCAL | LACKING}
    assert {scheme: [*at] for scheme, at in SENDERS.items()} == kept


@pytest.mark.real
async def test_who_sends_by_apprise_reads_no_file_and_starts_no_program(tmp_path: Path) -> None:
    folder, written = str(Path(sender.__file__).parent), tmp_path / "written"
    words = [sys.executable, "-I", "-c", TRIES, folder, str(written)]
    assert (await run(words, timeout_seconds=60)).stdout == ""
    assert not written.exists()
