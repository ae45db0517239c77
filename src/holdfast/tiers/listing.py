"""What a place has: its listing as a sorted file. Only a listing that ended whole is one."""

from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.services import Services
from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.tiers.merge import Count
from holdfast.tiers.merge import read_listing as read_listing  # noqa: PLC0414 - asked for here


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingTotals:
    """What was listed."""

    listed: Count
    hash_kind: HashKind | None
    """What the digests are; None: the place has none that cost nothing."""
    left_out: int = 0
    """Names that cannot be files here, or that two files of the store would have here."""


async def list_place(services: Services, place: Place, below: bytes, to: Path) -> ListingTotals:
    """Write what a place has at or below a path (b"": all of it) to a file sorted by path.

    Raises when the listing did not end whole, and leaves no file then. A folder that is not there
    is an empty listing; a place that is not there raises.
    """
    raise NotImplementedError
