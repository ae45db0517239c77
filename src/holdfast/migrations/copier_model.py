"""What copying counts, reports and fails with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.kernel.errors import AppError, BadGateway
from holdfast.kernel.stores.s3.errors import S3Error

_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504, 507})


class Outcome(StrEnum):
    """What was done to make a key equal on both sides."""

    COPIED = "copied"
    DELETED = "deleted"
    SAME = "same"


@dataclass(slots=True)
class CopyTotals:
    """Counters of one copier, growing while it works."""

    objects_copied: int = 0
    objects_deleted: int = 0
    objects_same: int = 0
    bytes_copied: int = 0
    """As they move: a large object counts while it is on its way."""
    torn_reads: int = 0
    """Reads whose content did not belong to their ETag, tried again."""
    retries: int = 0
    """Tries after a server's error or a lost connection."""
    layout_unknown: list[str] = field(default_factory=list)
    """Keys whose part layout could not be found (at most 1,000): their ETag changes."""
    headers_lost: dict[str, str] = field(default_factory=dict)
    """Headers that the destination does not keep, each with a key it was seen on."""
    tagged_key: str = ""
    """A key whose object has tags, which are not copied; the first that was seen."""
    uncertain_keys: set[str] = field(default_factory=set)
    """Keys with a write on the destination that ended without an answer: it may still be at work
    there, and land after a later one. Copy them again once the server is quiet."""


@dataclass(slots=True)
class SyncReport:
    """The result of syncing many keys."""

    copied: int = 0
    deleted: int = 0
    same: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Keys that could not be made equal, with the reason."""
    refused: set[str] = field(default_factory=set)
    """Those of them that trying again will not help."""

    def count(self, outcome: Outcome) -> None:
        """Add one key."""
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)


OnProgress = Callable[[CopyTotals], None]
"""Called after each object and each chunk of a large one; cheap, as it is called often."""


class TornRead(Exception):
    """The source's content and ETag do not belong together: it is being overwritten."""


class CopyFailed(BadGateway):
    """A key could not be made equal on both sides."""


def may_pass(error: AppError) -> bool:
    """Whether trying again may help."""
    if isinstance(error, S3Error):
        # Missing: a client deleted it between two requests, and the next try copies the delete.
        gone = error.is_missing and error.s3_code != "NoSuchBucket"
        return gone or error.status in _PASSING_STATUS
    return error.retryable
