"""One message to one address, by a program of its own with a limit; see `sender.py`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.kernel.config import Settings
from holdfast.kernel.errors import AppError, Invalid
from holdfast.kernel.notify import sender
from holdfast.kernel.notify.addresses import mail_of, sender_of
from holdfast.kernel.process import ProcessFailed, ProcessTimedOut, run

LIMIT_SECONDS = 60.0
MAIL_PORTS = {"tls": 465, "starttls": 587, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. ``id``: the same at each attempt. ``bad``: it tells of a failure."""

    id: str
    subject: str
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How it went. ``problem``: empty when it was taken; ``again``: it may be taken later."""

    problem: str = ""
    again: bool = False


async def deliver(settings: Settings, address: str, message: Message) -> Delivery:
    """Send it. What is said of a failure holds neither the address nor what was answered."""
    try:
        if mail_of(address) and not settings.mail_server:
            return Delivery(problem="this site sends no mail: mail_server is not set", again=True)
        order = _order(settings, address, message)
        words = [sys.executable, "-I", str(Path(sender.__file__))]
        given = json.dumps(order).encode()
        ended = await run(words, timeout_seconds=LIMIT_SECONDS, stdin=given, on_error_line=_ignore)
        answer = json.loads(ended.stdout)
    except ProcessTimedOut:
        return Delivery(problem=f"it took longer than {LIMIT_SECONDS:g} s", again=True)
    except (ProcessFailed, ValueError):  # what the program said last may hold the address
        return Delivery(problem="the program that sends it failed", again=True)
    except Invalid:  # it would repeat the address
        return Delivery(problem="it is no address that anything can be sent to")
    except AppError as error:
        return Delivery(problem=error.message)
    return Delivery(problem=str(answer["problem"]), again=bool(answer["again"]))


def _order(settings: Settings, address: str, message: Message) -> dict[str, Any]:
    mail = mail_of(address)
    order = {
        "id": message.id,
        "address": mail or address,
        "subject": message.subject,
        "text": message.text,
        "bad": message.bad,
        "mail": None,
    }
    if mail is None:
        module, plugin = sender_of(address)
        return {**order, "module": module, "plugin": plugin}
    return {**order, "mail": _mail_settings(settings)}


def _mail_settings(settings: Settings) -> dict[str, Any]:
    security = settings.mail_security
    return {
        "server": settings.mail_server,
        "port": settings.mail_port or MAIL_PORTS[security],
        "security": security,
        "user": settings.mail_user,
        "password": settings.mail_password.get_secret_value(),
        "sender": settings.mail_sender,
        "ca_file": str(settings.mail_ca_file or ""),
    }


def _ignore(_: str) -> None:
    pass
