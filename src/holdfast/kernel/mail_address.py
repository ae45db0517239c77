"""What an e-mail address looks like."""

import re
from email.utils import parseaddr

LONGEST_MAIL = 254
"""RFC 5321, section 4.5.3.1.3, less its angle brackets."""
_LOCAL = r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MAIL = re.compile(
    rf"(?=.{{1,64}}@){_LOCAL}@(?:localhost|(?:{_LABEL}\.)+{_LABEL})", re.ASCII | re.IGNORECASE
)


def is_mail(text: str) -> bool:
    """Whether this is an e-mail address and nothing else."""
    return len(text) <= LONGEST_MAIL and _MAIL.fullmatch(text) is not None


def bare_mail(text: str) -> str:
    """The address of ``Name <someone@example.org>``, or of one without a name.

    Raises ``ValueError``.
    """
    address = parseaddr(text)[1]
    if not is_mail(address):
        raise ValueError("it is no e-mail address, such as someone@example.org")
    return address
