"""Tells people outside that something has ended: by mail, or at any address that Apprise knows.

Addresses have passwords in them: they are kept sealed, and no message or log repeats them.
"""

import asyncio
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

from holdfast.kernel.errors import BadGateway, Invalid

SEND_SECONDS = 60.0
_OF_THIS_MACHINE = frozenset({"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Kinds of Apprise that would speak to the server's own desktop or log."""
_MAIL = re.compile(r"[^@\s/:?&#]+@[^@\s/:?&#]+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


class NotTold(BadGateway):
    """A message did not reach its address."""

    code = "not_told"


def check_addresses(addresses: Iterable[str], mail_url: str) -> None:
    """Raises ``Invalid`` for what is neither a mail address nor one of Apprise."""
    for address in addresses:
        if _MAIL.fullmatch(address):
            if not mail_url:
                raise Invalid(
                    "mail cannot be sent: no mail server is set",
                    hint="see the setting mail_url, or give an address such as mailto://...",
                )
        elif not _ADDRESS.fullmatch(address) or kind_of(address) in _OF_THIS_MACHINE:
            raise Invalid(
                "an address to tell is neither name@host nor kind://...",
                hint="for example someone@example.org, or an address of Apprise",
            )


def kind_of(address: str) -> str:
    """What may be said of an address: ``mail``, or its kind."""
    return "mail" if _MAIL.fullmatch(address) else address.partition("://")[0].lower()


async def send(address: str, *, title: str, text: str, mail_url: str) -> None:
    """Send a message to one address. Raises `NotTold`, which says neither address nor password."""
    target = mail_to(mail_url, address) if _MAIL.fullmatch(address) else address
    try:
        async with asyncio.timeout(SEND_SECONDS):
            sent = await asyncio.to_thread(_send, target, title, text)
    except TimeoutError:
        sent = False
    if not sent:
        raise NotTold(f"a message to an address of the kind {kind_of(address)} did not arrive")


def mail_to(mail_url: str, address: str) -> str:
    """The address of Apprise for a mail to somebody."""
    return f"{mail_url}{'&' if '?' in mail_url else '?'}to={quote(address, safe='')}"


def _send(target: str, title: str, text: str) -> bool:
    import apprise  # noqa: PLC0415 - it takes a third of a second, and few ever need it

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it names hosts and people
    told = apprise.Apprise.instantiate(target)
    return told is not None and bool(told.notify(body=text, title=title))
