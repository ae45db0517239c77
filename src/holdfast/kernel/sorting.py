"""In which order a list is asked for: a name, with a dash before it the other way round."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement

from holdfast.kernel.errors import Invalid

Sorts = Mapping[str, ColumnElement[Any]]
"""What a list can be sorted by, and what stands for it in the database."""


def order_by(sorts: Sorts, sort: str) -> ColumnElement[Any]:
    """The order of a query. Raises ``Invalid`` for a name that is not among them."""
    by = sorts.get(sort.removeprefix("-"))
    if by is None:
        raise Invalid(f"this is not sorted by {sort!r}", hint=f"by {', '.join(sorts)}")
    return by.desc() if sort.startswith("-") else by.asc()
