"""What lies below a folder of a tier: GNU find looks, and tells only of what may leave.

A link is never followed nor read, so looking at a tree does not warm it. Other file systems that
are mounted in it are not entered. What is hot, small, linked elsewhere or no file is counted.
"""

from dataclasses import dataclass, field
from pathlib import Path

from holdfast.tiers.merge import Count
from holdfast.tiers.merge import read_candidates as read_candidates  # noqa: PLC0414 - asked for here
from holdfast.tiers.model import Skip

SCAN_SECONDS = 24 * 3600.0
SORT_MEMORY = "24M"
SORTED_BY_BYTES = {"LC_ALL": "C"}
MOST_COMPLAINTS = 100
READ_BYTES = 1024 * 1024


@dataclass(slots=True)
class ScanTotals:
    """What a scan saw. A file that could not be reached is in none of the counts."""

    candidates: Count = field(default_factory=Count)
    skipped: dict[Skip, Count] = field(default_factory=dict)
    unreadable: int = 0
    """Folders and files that could not be looked at."""
    complaints: list[str] = field(default_factory=list)
    """About the first of them."""

    @property
    def seen(self) -> Count:
        """All regular files, without what is no file."""
        others = [count for why, count in self.skipped.items() if why is not Skip.NOT_A_FILE]
        return sum(others, self.candidates)


async def scan(
    root: bytes,
    below: bytes,
    cold_before_ns: int,
    *,
    min_size: int,
    to: Path,
    everything: bool = False,
) -> ScanTotals:
    """Write the cold files of ``below`` (a folder or a file; b"" is all) to a sorted file.

    Cold is what was neither read nor changed since ``cold_before_ns``. A file of several names is
    among them when all its names are. ``everything``: all regular files are written. Raises
    ``NotFound`` when ``below`` is not there, ``Invalid`` when the way to it is a link.
    """
    raise NotImplementedError
