"""Addresses that people give: mail, which the site's own server sends, or one of Apprise."""

import asyncio
import importlib
import logging
from collections.abc import Sequence
from urllib.parse import unquote

from holdfast.kernel.config import Settings
from holdfast.kernel.errors import Invalid
from holdfast.kernel.mail_address import LONGEST_MAIL, is_mail
from holdfast.kernel.notify.schemes import SENDERS

REFERENCE = "see docs/reference/notifications.md"


def mail_of(address: str) -> str | None:
    """The e-mail address of ``someone@example.org`` or ``mailto:someone@example.org``.

    None for an address of Apprise. Raises ``Invalid``.
    """
    scheme, colon, rest = address.strip().partition(":")
    if colon and scheme.lower() == "mailto" and not rest.startswith("//"):
        mail = unquote(rest.partition("?")[0])
    elif "://" in address:
        return None
    else:
        mail = address.strip()
    if not is_mail(mail):
        raise Invalid(
            f"{mail[:LONGEST_MAIL]!r} is no e-mail address",
            hint=f"like someone@example.org, or an address of Apprise; {REFERENCE}",
        )
    return mail


def sender_of(address: str) -> tuple[str, str]:
    """Module and class of the plugin for an address of Apprise. Raises ``Invalid``."""
    scheme = _scheme(address)
    if scheme not in SENDERS:
        raise Invalid(
            f"nobody can be told by {scheme[:20]!r}",
            hint=f"an e-mail address, or one of Apprise that sends over a network; {REFERENCE}",
        )
    return SENDERS[scheme]


def label(address: str) -> str:
    """What may be told of an address: never who it is, nor a secret in it."""
    scheme = _scheme(address)
    return scheme if "://" in address and scheme in SENDERS else "mail"


async def check_addresses(settings: Settings | None, addresses: Sequence[str]) -> None:
    """Refuse what could never be told. Raises ``Invalid`` without the secrets of an address.

    ``settings``: refuse mail, too, if this site sends none.
    """
    for address in addresses:
        mail = mail_of(address)
        if mail is None:
            module, name = sender_of(address)
            await asyncio.to_thread(_check_by_apprise, address, module, name)
        elif settings is not None and not settings.mail_server:
            raise Invalid(
                f"this site sends no mail, so {mail!r} cannot be told",
                hint="an admin sets mail_server, mail_sender: holdfast config set mail_server ...",
            )


def _check_by_apprise(address: str, module: str, name: str) -> None:
    logging.getLogger("apprise").disabled = True  # it tells addresses with all that is in them
    try:
        plugin = getattr(importlib.import_module(module), name)
        parts = plugin.parse_url(address)
        able = bool(parts) and plugin(**parts).enabled
    except (ImportError, AttributeError):
        able = False
    except Exception:  # noqa: BLE001 - whatever a plugin has against it; its words hold secrets
        able = False
    if not able:
        raise Invalid(
            f"Apprise cannot use this address of {_scheme(address)!r}: a part is missing or wrong",
            hint=REFERENCE,
        )


def _scheme(address: str) -> str:
    return address.strip().partition("://")[0].lower()
