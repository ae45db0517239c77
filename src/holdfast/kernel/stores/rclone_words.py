"""What rclone says, in words of ours.

Its own may repeat what a server answered, which not everybody may see; they go to our log.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from holdfast.kernel.child import ProcessFailed
from holdfast.kernel.errors import BadGateway
from holdfast.kernel.logging import get_logger
from holdfast.kernel.stores.rclone_remote import Remote

log = get_logger(__name__)
IN_LOG = "rclone's reason is in the server's log"
_NOT_LOOKED_AT = ("error listing", "failed to read file", "failed to open directory")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
"""A name or an address in a message."""
LOG_IN_JSON = "--use-json-log"
"""With it, a message stands apart from the name of the file that it is about."""
_PROBLEMS = frozenset({"error", "critical", "fatal"})
_OTHER_HOST_KEY = ("knownhosts: key", "no common algorithm for host key")
_HTTP_STATUS = re.compile(r"(?:\bstatus(?: ?code)?:? ?|: )([45][0-9]{2})\b", re.IGNORECASE)
_REASONS = (
    ("did not finish within", "it took too long", "is it reachable from here, and quick enough?"),
    ("connection refused", "nothing listens at its address", "is the server running?"),
    ("connection lost", "the connection to it broke off", "is its server well?"),
    ("connection reset", "the connection to it broke off", "is its server well?"),
    ("no such host", "its host's name is unknown here", "is the name right?"),
    ("i/o timeout", "its host does not answer", "is it reachable from here?"),
    ("no route to host", "its host cannot be reached", "is it reachable from here?"),
    ("network is unreachable", "its host cannot be reached", "is it reachable from here?"),
    ("unable to authenticate", "it refuses the login", "are user and password or key right?"),
    ("couldn't decrypt", "the key file's password is wrong", "give key_file_pass anew"),
    ("failed to parse private key", "its private key cannot be read", "is it in PEM form?"),
    ("gave http response to https", "it speaks http, not https", "look at the address"),
    ("certificate", "its certificate is not trusted", "is the address the certificate's?"),
    ("permission denied", "it may not be read or written", "look at its owner and mode"),
    ("no space left", "the disk is full", ""),
    ("object not found", "there is no such file", ""),
    ("operation not permitted", "it may not be read or written", "look at its owner and mode"),
    ("read-only file system", "its file system is read-only", ""),
    ("directory not found", "its root is not there", "look at the store's root"),
    ("signaturedoesnotmatch", "it refuses the keys", "is the secret key right?"),
    ("invalidaccesskeyid", "it refuses the keys", "it does not know this access key"),
    ("accessdenied", "the credentials may not list it", "look at the keys and their rights"),
)


_UNREACHABLE = (
    *("connection refused", "connection lost", "connection reset", "couldn't connect"),
    *("no such host", "i/o timeout", "no route to host", "network is unreachable"),
)


class RcloneFailed(BadGateway):
    """rclone could not do what it was asked; the message is ours."""

    code = "rclone_failed"

    def __init__(self, message: str, *, hint: str = "", said: str = "") -> None:
        """``said``: rclone's own words, for the log alone."""
        super().__init__(message, hint=hint)
        self.said = said


class HostKeyChanged(RcloneFailed):
    """An SFTP host shows another key than the one that was trusted; it is not spoken to."""

    code, retryable = "host_key_changed", False


def reason_of(said: str) -> tuple[str, str]:
    """Why something failed, and what to do; empty where none of our words fit."""
    lowered = said.lower()
    for sign, words, hint in _REASONS:
        if sign in lowered:
            return words, hint
    status = _HTTP_STATUS.search(said)
    return (f"its server answered with status {status[1]}", "") if status else ("", IN_LOG)


def is_unreachable(said: str) -> bool:
    """Whether a store was not there when it was asked."""
    return any(sign in said.lower() for sign in _UNREACHABLE)


def from_log(line: str) -> dict[str, Any]:
    """A line of rclone's log in JSON; any other line is a problem, in its own words."""
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return {"level": "error", "msg": line}


def is_problem(said: Mapping[str, Any]) -> bool:
    """Whether something failed, by the level of what was logged."""
    return said.get("level") in _PROBLEMS


def spoils_listing(line: str) -> bool:
    """Whether a listing cannot be whole any more after this line of rclone's log in JSON.

    It would go on for each folder and each name: of a store that is away, for hours.
    """
    said = from_log(line)
    words = _QUOTED.sub("", str(said.get("msg", "")))
    spoilt = is_unreachable(words) or any(sign in words for sign in _NOT_LOOKED_AT)
    return spoilt and is_problem(said)


def rclone_failure(
    said: str, what: str = "rclone could not do it", *, hint: str = "", host: str = ""
) -> RcloneFailed:
    """What rclone said, as one of our errors; ``what``: what could not be done."""
    if any(sign in said for sign in _OTHER_HOST_KEY):
        return HostKeyChanged(
            f"the host {host or 'of the store'} shows another key than the one that was trusted, "
            "and is not spoken to",
            hint="if whoever runs it confirms the new key: holdfast store host-key STORE, then "
            "holdfast store trust STORE FINGERPRINT",
            said=said,
        )
    words, advice = reason_of(said)
    return RcloneFailed(f"{what}: {words}" if words else what, hint=hint or advice, said=said)


def listing_failure(error: ProcessFailed, remote: Remote, store: str) -> RcloneFailed:
    """The error of an rclone process that did not list or look at all of a store."""
    last = error.last_lines
    problem = error.message.removesuffix(f": {last[-1]}") if last else error.message
    lines = [from_log(line) for line in last]
    # Hidden once it is no JSON any more, which writes some signs of a secret in another way.
    told = remote.hide("\n".join((problem, *map(_with_name, lines))))
    said = remote.hide("\n".join((problem, *(str(line.get("msg", "")) for line in lines))))
    log.warning("a store was not listed", store=store, rclone=told)
    host = remote.address.get("host", "")
    return rclone_failure(said, f"the listing of {store} is not whole", host=host)


def _with_name(said: Mapping[str, Any]) -> str:
    return ": ".join(str(said[key]) for key in ("object", "msg") if said.get(key))
