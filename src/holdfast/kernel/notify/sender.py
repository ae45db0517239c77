"""The program that sends one message to one address: the order on stdin, the answer on stdout.

A process of its own, so that a library which hangs can be ended, and what one loads is given back.
Both are JSON; the answer is ``{"problem": "", "again": false}``. It imports nothing of ours: it is
run by its path. An address of Apprise was written by somebody who may not see this machine's files,
and several plugins take names of files: such an order may read libraries and talk to networks, and
nothing else.
"""

import contextlib
import importlib
import json
import logging
import os
import smtplib
import socket
import ssl
import sys
import sysconfig
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import Any

WAIT_SECONDS = 15.0
"""For each answer of a mail server."""
READABLE = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "/etc/mime.types",
    "/etc/localtime",
    "/etc/ssl",
    "/usr/share/zoneinfo",
    "/usr/lib/ssl",
    os.devnull,
)
FORBIDDEN = frozenset(
    {
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
        *("os.chmod", "os.chown", "pty.spawn"),
    }
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(Exception):
    """The message was not taken; the text says why. ``again``: it may be later."""

    def __init__(self, problem: str, *, again: bool) -> None:
        super().__init__(problem)
        self.again = again


def main() -> None:
    """Send what stdin says."""
    logging.disable(logging.CRITICAL)  # libraries tell addresses with all that is in them
    order = json.load(sys.stdin)
    answer = {"problem": "", "again": False}
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            (send_mail if order["mail"] else send_by_apprise)(order)
    except Refused as refused:
        answer = {"problem": str(refused), "again": refused.again}
    except Exception as error:  # noqa: BLE001 - of any library; its text may hold the address
        answer = {"problem": f"it failed: {type(error).__name__}", "again": True}
    json.dump(answer, sys.stdout)


def send_by_apprise(order: dict[str, Any]) -> None:
    """Let a plugin of Apprise send it. Raises ``Refused``."""
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - mail needs none of it

    plugin = getattr(importlib.import_module(order["module"]), order["plugin"])
    keep_to_networks()
    taken = plugin(**plugin.parse_url(order["address"])).notify(
        title=order["subject"],
        body=order["text"],
        notify_type=NotifyType.WARNING if order["bad"] else NotifyType.SUCCESS,
        body_format=NotifyFormat.TEXT,
    )
    if not taken:
        raise Refused("it was not taken, or nobody answered", again=True)


def keep_to_networks() -> None:
    """From now on this process reads libraries only, writes nowhere and starts nothing."""
    roots = tuple(os.path.realpath(place) for place in READABLE)
    os.environ.pop("NETRC", None)

    def check(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(roots, *args)
        elif event in {"os.listdir", "os.scandir"}:  # imports look into folders, too
            _check_open(roots, args[0] or ".", "", os.O_RDONLY)
        elif event == "socket.connect":
            if not isinstance(args[1], tuple):
                raise PermissionError("a socket of this machine")
        elif event in FORBIDDEN:
            raise PermissionError(event)

    sys.addaudithook(check)


def _check_open(roots: tuple[str, ...], path: object, _: object, flags: int) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open descriptor
    real = os.path.realpath(os.fsdecode(path))
    if (flags & _WRITES and real != os.devnull) or not _lies_in(real, roots):
        raise PermissionError("a file that is no library's")


def _lies_in(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def send_mail(order: dict[str, Any]) -> None:
    """Give it to the site's mail server. Raises ``Refused``."""
    mail = order["mail"]
    try:
        with connected(mail) as server:
            if mail["user"]:
                server.login(mail["user"], mail["password"])
            server.send_message(letter(order))
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        again = not any(500 <= code < 600 for code in codes)  # noqa: PLR2004 - RFC 5321: for good
        raise Refused(f"the mail server refused the recipient ({codes[0]})", again=again) from None
    except smtplib.SMTPAuthenticationError as error:
        problem = f"the mail server refused mail_user and mail_password ({error.smtp_code})"
        raise Refused(problem, again=True) from None
    except smtplib.SMTPResponseException as error:
        raise Refused(f"the mail server said {error.smtp_code}", again=True) from None
    except smtplib.SMTPNotSupportedError:
        problem = "the mail server lacks what mail_security or mail_user ask for"
        raise Refused(problem, again=True) from None
    except ssl.SSLCertVerificationError as error:
        problem = f"the mail server's certificate is not trusted: {error.verify_message}"
        raise Refused(problem, again=True) from None
    except ssl.SSLError:
        raise Refused("the mail server speaks no TLS on this port", again=True) from None
    except (OSError, smtplib.SMTPException) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        raise Refused(f"the mail server cannot be reached: {said}", again=True) from None


def connected(mail: dict[str, Any]) -> smtplib.SMTP:
    """A connection to the mail server, sealed as the settings say."""
    where = (mail["server"], mail["port"])
    name = socket.gethostname()
    if mail["security"] == "none":
        return smtplib.SMTP(*where, local_hostname=name, timeout=WAIT_SECONDS)
    trust = ssl.create_default_context(cafile=mail["ca_file"] or None)
    if mail["security"] == "tls":
        return smtplib.SMTP_SSL(*where, local_hostname=name, timeout=WAIT_SECONDS, context=trust)
    server = smtplib.SMTP(*where, local_hostname=name, timeout=WAIT_SECONDS)
    server.starttls(context=trust)
    return server


def letter(order: dict[str, Any]) -> EmailMessage:
    """The mail. Tried again it has the same id, so that a server which has it can tell."""
    made = EmailMessage()
    sender = order["mail"]["sender"]
    made["From"], made["To"], made["Subject"] = sender, order["address"], order["subject"]
    made["Date"] = formatdate()
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    made["Message-ID"] = f"<{order['id']}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(order["text"])
    return made


if __name__ == "__main__":
    main()
