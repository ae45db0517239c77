"""Values and rules of tiers: what is cold, what may leave, what stays and why. No I/O."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self, assert_never

DAY_SECONDS = 86_400
QUARANTINE = ".holdfast-quarantine"
"""Folder at the root of a tier where frozen files wait for the end of the undo window."""
STAGING = ".holdfast-pull"
"""Folder at the root of a tier where what is fetched lies until it is whole and gets its place."""
OWN = (QUARANTINE, STAGING)
EMPTY = "tiers.empty"
"""The kind of job that removes what was frozen, once its undo window has ended."""


class Action(StrEnum):
    """What a job of a tier does."""

    PULL = "pull"
    FREEZE = "freeze"
    UNDO = "undo"
    VERIFY = "verify"
    REPORT = "report"


class Skip(StrEnum):
    """Why a file was left as it is."""

    READ_RECENTLY = "read recently"
    TOO_SMALL = "smaller than the minimum"
    EXCLUDED = "excluded"
    PINNED = "pinned"
    PULLED_RECENTLY = "pulled recently"
    NOT_A_FILE = "not a regular file"
    LINKED = "has links outside what is frozen"
    MISSING_ON_STORE = "not on the store"
    LOST = "frozen, and not on the store"
    OTHER_SIZE = "another size on the store"
    OTHER_CONTENT = "another content on the store"
    NOT_PROVABLE = "its content on the store cannot be proven"
    CHANGED = "changed meanwhile"
    IN_USE = "open in another program"
    GONE = "no longer there"
    NOT_PERMITTED = "not permitted"
    FAILED = "could not be read or moved"
    EXISTS = "exists already"
    NO_NAME = "its name cannot be a file here"
    DIFFERS = "differs from the store and is kept"


UNLIKE = {
    Skip.MISSING_ON_STORE: "only here",
    Skip.OTHER_SIZE: "differs",
    Skip.OTHER_CONTENT: "differs",
    Skip.LOST: "on no store",
}
"""What a verify says of a file that is not the same, by the reason; for all others it could not be
compared, and nobody knows."""


class Proof(StrEnum):
    """How it is proven that a store holds the same bytes."""

    HASH = "hash"
    """By a hash that both sides know; a file without one on the store stays."""
    COMPARE = "compare"
    """By a hash where the store has one, else by reading its content and comparing."""


class FileState(StrEnum):
    """Where a file is on its way out; the last four are final."""

    INTENT = "intent"
    """About to be moved to quarantine; it may be in either place."""
    QUARANTINED = "quarantined"
    LEAVING = "leaving"
    """Proven again, about to be unlinked; it may be gone."""
    FROZEN = "frozen"
    RETURNED = "returned"
    """It was frozen, and pulled again since: what becomes of it now is its users' doing."""
    RESTORED = "restored"
    """Moved back, by an undo or because it changed in quarantine."""
    STAYED = "stayed"
    """The move was not carried out."""


class Policy(StrEnum):
    """What a rule says of the paths that it matches."""

    PIN = "pin"
    """They never leave."""
    FREEZE_AFTER = "freeze_after"
    """They leave after another age than the tier's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """A rule for paths; of a tier's rules the first that matches counts."""

    pattern: str
    """As in rclone's filters, relative to the tier's root."""
    policy: Policy
    age_days: int | None = None
    """For `Policy.FREEZE_AFTER`."""


class Candidate(NamedTuple):
    """A cold local file, as the scan saw it. ``path``: relative to the tier's root."""

    path: bytes
    size_bytes: int
    device: int
    inode: int
    links: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOptions:
    """How a tier is kept. Ages and windows in their units' names; 0 or None: none."""

    filters: tuple[str, ...] = ()
    """rclone's filter rules (``- *.tmp``), in their order; the same for pull and freeze."""
    freezable: bool = False
    age_days: int = 180
    min_size_bytes: int = 0
    rules: tuple[PathRule, ...] = ()
    uid: int | None = None
    gid: int | None = None
    bandwidth: str = ""
    grace_hours: float = 24.0
    """What was pulled stays so long, read or not."""
    undo_hours: float = 24.0
    proof: Proof = Proof.HASH
    max_files_percent: float = 50.0
    """A run that would freeze a larger share of the tier's files stops, unless confirmed."""
    max_bytes_percent: float = 50.0
    allow_noatime: bool = False
    """Freeze although the file system keeps no times of reading."""
    space_high_percent: float | None = None
    """From this use of the file system on, the oldest files are frozen ..."""
    space_low_percent: float | None = None
    """... until its use is below this."""
    auto_freeze_cron: str = ""
    """When the whole tier is frozen by itself; empty: never."""
    auto_freeze_timezone: str = "UTC"

    def to_json(self) -> str:
        """As kept in a row."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote, or the defaults for what it did not know."""
        kept: dict[str, Any] = json.loads(text)
        rules = tuple(
            PathRule(**{**rule, "policy": Policy(rule["policy"])}) for rule in kept.pop("rules", ())
        )
        filters = tuple(kept.pop("filters", ()))
        proof = Proof(kept.pop("proof", Proof.HASH))
        return cls(**kept, rules=rules, filters=filters, proof=proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A local tree and the stores that have all of it, as jobs and plans take it."""

    id: int
    name: str
    root: bytes
    """Absolute and without symlinks."""
    mounted_at: bytes = b""
    """Where the file system of the root was mounted when it was last used; empty: not known."""
    store_id: int
    prefix: str = ""
    second_store_id: int | None = None
    second_prefix: str = ""
    options: TierOptions


def inside(path: bytes, folder: bytes) -> bool:
    """Whether a relative path is ``folder`` or lies in it, by whole components; b"" is the root."""
    return not folder or path == folder or path.startswith(folder + b"/")


def is_own(path: bytes) -> bool:
    """Whether a path of a tier is of our own making, and nothing of the tier's."""
    return path.partition(b"/")[0].decode("latin-1") in OWN


def relative_to(root: bytes, asked: bytes) -> bytes | None:
    """An absolute, normalised path as seen from a tier's root; None when it is not below it."""
    if asked == root:
        return b""
    start = root.rstrip(b"/") + b"/"
    return asked[len(start) :] if asked.startswith(start) else None


def nearest_root(roots: Iterable[bytes], asked: bytes) -> bytes | None:
    """The root that ``asked`` lies below."""
    found = [root for root in roots if relative_to(root, asked) is not None]
    return max(found, key=len, default=None)


def over_limit(
    options: TierOptions, *, files: int, of_files: int, size: int, of_size: int
) -> str | None:
    """Why a run would remove more than the tier allows, in words; None when it does not."""
    if of_files and files * 100 > options.max_files_percent * of_files:
        return f"{files} of {of_files} files, more than {options.max_files_percent:g} %"
    if of_size and size * 100 > options.max_bytes_percent * of_size:
        return f"{size} of {of_size} bytes, more than {options.max_bytes_percent:g} %"
    return None


def longest_age(options: TierOptions) -> Sequence[int]:
    """All ages in days that decide in this tier, shortest first."""
    return sorted(
        {options.age_days, *(r.age_days for r in options.rules if r.age_days is not None)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run was asked to do: two of one tier that are equal and unfinished are one run."""

    action: Action
    paths: tuple[str, ...] = ("",)
    """Relative to the root, in the text form of ``names.py``; "" is the whole tier."""
    dry_run: bool = False
    confirm: bool = False
    """Go on although it would remove more than the tier allows."""
    until_bytes: int | None = None
    """Of a freeze: the oldest files, until so many bytes are gone."""
    undoes: str = ""
    """Of an undo: the job whose files come back."""

    def to_json(self) -> str:
        """As kept in a row."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        kept: dict[str, Any] = json.loads(text)
        action, paths = Action(kept.pop("action")), tuple(kept.pop("paths"))
        return cls(**kept, action=action, paths=paths)

    @property
    def changes_files(self) -> bool:
        """Whether files of the tier come or go."""
        match self.action:
            case Action.PULL | Action.FREEZE | Action.UNDO:
                return not self.dry_run
            case Action.VERIFY | Action.REPORT:
                return False
            case _:
                assert_never(self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A run of a tier that has not ended."""

    job_id: str
    asked: Asked


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths in text form, sorted, less those that lie in another of them."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda path: (path.count("/"), path)):
        if not any(_text_inside(path, folder) for folder in kept):
            kept.append(path)
    return tuple(sorted(kept))


def covers(folders: Iterable[str], paths: Iterable[str]) -> bool:
    """Whether each of these paths is one of the folders, or lies in one."""
    known = tuple(folders)
    return all(any(_text_inside(path, folder) for folder in known) for path in paths)


def overlap(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a path of the one set is, holds or lies in one of the other."""
    known = tuple(others)
    return any(_text_inside(a, b) or _text_inside(b, a) for a in some for b in known)


def _text_inside(path: str, folder: str) -> bool:
    return inside(path.encode(), folder.encode())


def job_to_join(asked: Asked, standing: Iterable[Standing]) -> str | None:
    """The unfinished run (given oldest first) that does what is asked; None: a new one is needed.

    A pull joins one that covers it. What was asked in between and moves the same files otherwise
    comes first: nobody joins a run that stands before it.
    """
    found: str | None = None
    for run in standing:
        if run.asked == asked:
            found = run.job_id
        elif _is_wider_pull(run.asked, asked):
            found = found or run.job_id
        elif _comes_between(run.asked, asked):
            found = None
    return found


def _is_wider_pull(wider: Asked, asked: Asked) -> bool:
    if asked.action is not Action.PULL or wider.action is not Action.PULL:
        return False
    return wider.dry_run == asked.dry_run and covers(wider.paths, asked.paths)


def _comes_between(other: Asked, asked: Asked) -> bool:
    differs = other.action is not asked.action and other.changes_files
    return differs and overlap(other.paths, asked.paths)


def locks_of(tier_id: int, asked: Asked) -> list[str]:
    """What a run keeps to itself; nothing when it changes nothing, and nothing need stand still."""
    if not asked.changes_files and asked.action is not Action.VERIFY:
        return []
    undoing = (QUARANTINE,) if asked.action is Action.UNDO else ()
    return [f"tiers/{tier_id}/{path}".rstrip("/") for path in (*asked.paths, *undoing)]


def bytes_over(options: TierOptions, *, used: int, available: int) -> int:
    """How many bytes must leave for the use to be below the low mark; 0 below the high one."""
    high, low = options.space_high_percent, options.space_low_percent
    whole = used + available
    if high is None or low is None or not whole or 100.0 * used / whole < high:
        return 0
    return max(1, used - int(whole * low / 100.0))
