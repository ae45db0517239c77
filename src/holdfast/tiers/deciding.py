"""Which files may leave, by the scan, the listings and the tier's rules; nothing is proven yet.

Names are judged a block at a time, and one by one only where a rule may concern them.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast.tiers.filters import Filters, first_match, needle
from holdfast.tiers.listing import ListingTotals, list_place
from holdfast.tiers.merge import Count, join, path_of, read_skipped
from holdfast.tiers.model import (
    DAY_SECONDS,
    Candidate,
    PathRule,
    Policy,
    Skip,
    TierOptions,
    longest_age,
)
from holdfast.tiers.names import as_filtered
from holdfast.tiers.running import Run, Tally
from holdfast.tiers.scan import ScanTotals, read_told, scan

SECOND_NS = 1_000_000_000


class Rules:
    """What a tier's options say of a file by its name and times."""

    def __init__(self, options: TierOptions, now_ns: int) -> None:
        self._options = options
        self._now_ns = now_ns
        self._filters = Filters(options.filters)
        self._first = first_match([rule.pattern for rule in options.rules])
        ages = (needle(rule.pattern) for rule in options.rules if rule.age_days is not None)
        self._of_ages = tuple(set(ages))
        self._has_names = bool(options.filters or options.rules)
        of_rules = (needle(rule.pattern) for rule in options.rules)
        self._needles = tuple({*self._filters.needles, *of_rules})
        self._read_before = self._before(options.age_days)
        self.cold_before_ns = self._before(longest_age(options)[0])
        """What was read since is hot by every rule."""

    def of_times(self, file: Candidate) -> Skip | None:
        """Why a file that does not stay by its name stays; None: it may leave."""
        if not file.inode:
            return Skip.GONE
        read_before = self._read_before
        if self._of_ages and any(each in file.path for each in self._of_ages):
            rule = self._named(file.path)[1]
            if rule is not None and rule.age_days is not None:
                read_before = self._before(rule.age_days)
        if file.atime_ns >= read_before or file.mtime_ns >= read_before:
            return Skip.READ_RECENTLY
        return None

    def of_name(self, path: bytes) -> Skip | None:
        """Why a file stays as far as the path alone tells."""
        return self._named(path)[0] if self._has_names else None

    def of_names(self, keys: list[bytes], text: bytes) -> dict[Skip, set[bytes]]:
        """The same of many, for `merge.join`."""
        found: dict[Skip, set[bytes]] = {}
        for key in self._concerned(keys, text):
            reason = self._named(path_of(key))[0]
            if reason is not None:
                found.setdefault(reason, set()).add(key)
        return found

    def _concerned(self, keys: list[bytes], text: bytes) -> list[bytes]:
        """What some rule may match; ``text`` has all of it."""
        if b"" in self._needles:
            return keys
        needles = [each for each in self._needles if each in text]
        return [key for key in keys if any(each in key for each in needles)] if needles else []

    def _named(self, path: bytes) -> tuple[Skip | None, PathRule | None]:
        name = as_filtered(path)
        if not self._filters.takes_name(name):
            return Skip.EXCLUDED, None
        first = self._first(name)
        rule = None if first is None else self._options.rules[first]
        pinned = rule is not None and rule.policy is Policy.PIN
        return (Skip.PINNED if pinned else None), rule

    def _before(self, days: int) -> int:
        return self._now_ns - days * DAY_SECONDS * SECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The files of a path that may leave, as the scan saw them."""

    keys: Path
    """For `merge.read_matched`, with ``listings``."""
    listings: tuple[Path, ...]
    totals: tuple[ListingTotals, ...]
    """Of the listings, in the same order: one a place."""
    files: Count
    seen: Count
    """All regular files of the path."""


async def choose(
    run: Run, rules: Rules, path: bytes, tally: Tally, *, number: int, by_name: bool
) -> Chosen:
    """The cold files below a path that each place has with the same size; what stays is told.

    ``number``: of the path, for the names of files in the run's folder. ``by_name``: files that are
    otherwise only counted are told too. Raises what is wrong with a store or with the path.
    """
    to = run.work / f"cold-{number}"
    told = run.work / f"stays-{number}" if by_name else None
    found = await scan(
        run.tier.root,
        path,
        rules.cold_before_ns,
        min_size=run.tier.options.min_size_bytes,
        to=to,
        tell=told,
    )
    if told is not None:
        await asyncio.to_thread(_tell_each, told, tally)
    _count(found, run, tally)
    listings, totals, files = [], [], found.candidates
    for side, place in enumerate(run.places):
        listing, both = run.work / f"listed-{number}-{side}", run.work / f"both-{number}-{side}"
        totals.append(await list_place(run.ctx.services, place, path, listing))
        listings.append(listing)
        left = run.work / f"only-here-{number}-{side}"
        stays = None if side else rules.of_names  # once is enough
        joining = partial(join, to, listing, of=files, matched=both, skipped=left, stays=stays)
        files = (await asyncio.to_thread(joining)).matched
        await asyncio.to_thread(_tell_left, left, rules, tally)
        to = both
    return Chosen(
        keys=to, listings=tuple(listings), totals=tuple(totals), files=files, seen=found.seen
    )


def _count(found: ScanTotals, run: Run, tally: Tally) -> None:
    for reason, count in found.skipped.items():
        tally.count(reason, count.files, count.size_bytes)
    tally.count(Skip.NOT_PERMITTED, found.unreadable, 0)
    for complaint in found.complaints:
        run.ctx.log(complaint)


def _tell_left(left: Path, rules: Rules, tally: Tally) -> None:
    for path, size, reason in read_skipped(left):
        tally.stays(path, size, rules.of_name(path) or reason)


def _tell_each(told: Path, tally: Tally) -> None:
    for path, size, reason in read_told(told):
        tally.tell(path, size, "stays", str(reason))
    told.unlink(missing_ok=True)
