"""Search, sort and page of a list, kept in the address."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request

Row = TypeVar("Row")
ROWS = 50
_LONGEST_SEARCH = 200
_MOST_PAGES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the address asks for; whatever is not known there falls back to the first."""

    path: str
    q: str
    sort: str
    descending: bool
    page: int
    others: Mapping[str, str]
    """Further filters, by name."""
    rows: int = ROWS

    @property
    def order(self) -> str:
        """The column, with a dash before it when it descends."""
        return ("-" if self.descending else "") + self.sort

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.rows

    def to(self, **changes: object) -> str:
        """The address with something changed; the page begins anew unless it is given."""
        now = {
            **self.others,
            "q": self.q,
            "sort": self.order,
            "page": "",
            **changes,
        }
        kept = {name: value for name, value in now.items() if value not in {"", None, 1}}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def cleared(self, keep: Collection[str]) -> str:
        """The address without search, order and filters but those to ``keep``."""
        kept = {name: value for name, value in self.others.items() if name in keep}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def sorted_by(self, key: str) -> str:
        """The address that sorts by this column, the other way round when it does already."""
        return self.to(sort=f"-{key}" if key == self.sort and not self.descending else key)

    def pages(self, total: int) -> int:
        """How many pages there are."""
        return max(1, -(-total // self.rows))


def listing(
    request: Request, *, sorts: Collection[str], filters: Collection[str] = (), rows: int = ROWS
) -> Listing:
    """Read the address. ``sorts``: columns that can be sorted by, the first is the usual one.

    A leading ``-`` in the first one: usually descending.
    """
    query, first = request.query_params, next(iter(sorts))
    wanted = query.get("sort", first)
    known = {name.removeprefix("-") for name in sorts}
    if wanted.removeprefix("-") not in known:
        wanted = first
    page = query.get("page", "1")
    number = int(page) if page.isascii() and page.isdecimal() and len(page) < 7 else 1  # noqa: PLR2004
    return Listing(
        path=request.url.path,
        q=query.get("q", "")[:_LONGEST_SEARCH].replace("\0", ""),
        sort=wanted.removeprefix("-"),
        descending=wanted.startswith("-"),
        page=max(1, min(number, _MOST_PAGES)),
        others={name: query[name] for name in filters if query.get(name)},
        rows=rows,
    )


def page_of(
    rows: Iterable[Row],
    asked: Listing,
    sorts: Mapping[str, Callable[[Row], Any]],
    words: Callable[[Row], str],
) -> tuple[Sequence[Row], int]:
    """Of rows that are at hand: the page that is asked for, and how many fit the search.

    ``sorts``: what a column is sorted by, "" for the order as it is; ``words``: what is searched.
    """
    wanted = asked.q.lower()
    found = [row for row in rows if wanted in words(row).lower()]
    by = {name.removeprefix("-"): key for name, key in sorts.items()}[asked.sort]
    found.sort(key=by, reverse=asked.descending)
    return found[asked.offset : asked.offset + asked.rows], len(found)


def like(text: str) -> str:
    """A pattern that finds the text anywhere; for ``ilike`` with a backslash as ``escape``."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
