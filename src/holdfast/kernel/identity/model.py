"""Rules of logins: how long one lasts, who is one guesser, how guessing is slowed. No I/O."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from holdfast.kernel.errors import Invalid

LONGEST_USER_AGENT = 200
LONGEST_ADDRESS = 45
SEEN_STEP = timedelta(minutes=1)
"""How exact ``last_seen_at`` is: one write a minute and session, not one a request."""
LINK_LIFE = timedelta(hours=24)
WINDOW = timedelta(minutes=15)
"""How long a failed login counts."""
FREE_FAILURES = 3
"""So many wrong passwords of one name from one address cost nothing: people mistype."""
NAME_FAILURES = 10
"""So many within the window, and that name is refused from that address."""
ADDRESS_FAILURES = 100
"""So many of any names: an office behind one address mistypes too, and guesses far less."""
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 4.0


_AREA = re.compile(r"[a-z][a-z0-9-]{0,62}")
UNSCOPED = frozenset({"me", "sessions", "tokens", "users"})
"""No scope names these: who opens them could make itself a wider token."""
FOR_EVERY_SCOPE = frozenset({"whoami"})
MOST_AREAS = 20


def scope_of(areas: Sequence[str]) -> tuple[str, ...]:
    """What a token may be used for, sorted; empty: everything. Raises ``Invalid``."""
    wanted = tuple(sorted({area.strip() for area in areas if area.strip()}))
    for area in wanted:
        if not _AREA.fullmatch(area) or area in UNSCOPED:
            raise Invalid(
                f"scope: {area[:63]!r} is no area that a token can be bound to",
                hint="the word after /api/ in an address: tiers, jobs, pools, metrics ...",
            )
    if len(wanted) > MOST_AREAS:
        raise Invalid(f"scope: more than {MOST_AREAS} areas", hint="make a second token")
    return wanted


def area_of(path: str) -> str:
    """The area of an address: the word after ``/api/``, or ``metrics``; empty for any other."""
    words = path.split("/")
    if words[:2] == ["", "api"]:
        return "".join(words[2:3])
    return "metrics" if path == "/metrics" else ""


def is_in_scope(scope: Sequence[str], path: str) -> bool:
    """Whether a token of this scope opens this address."""
    return not scope or area_of(path) in {*scope, *FOR_EVERY_SCOPE}


class LoginMethod(StrEnum):
    """How somebody logged in; a session stands for a user, a token or the operator's key."""

    PASSWORD = "password"  # noqa: S105 - a word
    LINK = "link"
    KEY = "key"


class LinkPurpose(StrEnum):
    """Why an invitation was made: for the first admin of a new server, or for a password."""

    FIRST = "first"
    PASSWORD = "password"  # noqa: S105 - a word


@dataclass(frozen=True, slots=True)
class Visit:
    """From where a request came."""

    address: str = ""
    user_agent: str = ""

    def __post_init__(self) -> None:
        """Cut both to what is kept."""
        object.__setattr__(self, "address", self.address[:LONGEST_ADDRESS])
        object.__setattr__(self, "user_agent", self.user_agent[:LONGEST_USER_AGENT])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a login: refused for ``retry_after``, or tried after ``delay_seconds``."""

    delay_seconds: float = 0.0
    retry_after: timedelta | None = None


def ends_at(*, last_seen_at: datetime, expires_at: datetime, idle: timedelta) -> datetime:
    """When a session ends if nothing more is asked with it."""
    return min(expires_at, last_seen_at + idle)


def guess_verdict(
    of_name: Sequence[datetime], of_address: Sequence[datetime], *, now: datetime
) -> Verdict:
    """How to treat the next guess, by the failures of this name from here, and of this address.

    Both are oldest first. Guesses get slower after the first few, and are refused at the limits
    until enough of the failures have left the window.
    """
    recent = [moment for moment in of_name if moment > now - WINDOW]
    around = [moment for moment in of_address if moment > now - WINDOW]
    waits = [
        found[len(found) - limit] + WINDOW - now
        for found, limit in ((recent, NAME_FAILURES), (around, ADDRESS_FAILURES))
        if len(found) >= limit
    ]
    if waits:
        return Verdict(retry_after=max(waits))
    slow = len(recent) - FREE_FAILURES
    if slow < 0:
        return Verdict()
    return Verdict(min(FIRST_DELAY_SECONDS * 2**slow, LONGEST_DELAY_SECONDS))


def guesser(address: str) -> str:
    """Whose failures count together: an IPv4 address, or an IPv6 network of 64 bits (one site)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def local_path(given: str) -> str:
    """``given`` when it is a path of this server, else ``/``: a link sends nobody elsewhere."""
    plain = given.isascii() and given.isprintable() and "\\" not in given
    return given if plain and given.startswith("/") and not given.startswith("//") else "/"
