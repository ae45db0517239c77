"""A real mail server, and a real web server that takes what Apprise sends."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"
OK = "250 taken"


@dataclass
class Mailbox:
    """What a mail server got; ``says``: its next answers to letters."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    """Answers to recipients."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """A recipient."""
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """A letter."""
        if self.says:
            return self.says.pop(0)
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append([str(one) for one in envelope.rcpt_tos])
        return OK

    def check(self, _: object, __: object, ___: object, mechanism: str, given: Any) -> AuthResult:
        """A login: the password is its name backwards."""
        assert isinstance(given, LoginPassword)
        name, password = given.login.decode(), given.password.decode()
        self.logins.append((mechanism, name))
        return AuthResult(success=password == name[::-1], handled=False)


@contextlib.asynccontextmanager
async def mail_server(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Mailbox]:
    """A mail server; with ``tls`` it takes letters only after STARTTLS and a login."""
    box = Mailbox()
    sealed: dict[str, Any] = {"hostname": "mail.test"}
    if tls is not None:
        sealed |= {
            "tls_context": tls,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": box.check,
        }
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box, **sealed), HOST, 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Inbox:
    """What a web server got; ``status``: its next answers."""

    port: int = 0
    posts: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    async def take(self, request: web.Request) -> web.Response:
        """A call of Apprise's ``json://``."""
        self.posts.append(await request.json())
        return web.Response(status=self.status, text="an answer that nobody may see")


@contextlib.asynccontextmanager
async def web_server(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Inbox]:
    """A web server that takes every POST."""
    inbox = Inbox()
    app = web.Application()
    app.router.add_post("/{path:.*}", inbox.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0, ssl_context=tls)
        await site.start()
        inbox.port = runner.addresses[0][1]
        yield inbox
    finally:
        await runner.cleanup()


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's own certificate for this host, and the file by which one may trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    moment = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, moment - day, moment + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = directory / "trusted.pem", directory / "private.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return context, trusted
