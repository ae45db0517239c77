"""What a slice tells the kernel's own pages: drift, readiness, figures, checks.

A slice registers functions here when its parts are built; the kernel calls them and knows no slice.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.stores.tables import StoreRow


class Verdict(StrEnum):
    """How a check of ``doctor`` ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of ``doctor``."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    """What to do; empty when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One figure of ``/metrics``."""

    name: str
    help: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Contributors:
    """Functions that slices registered; one object a process."""

    drift_alerts: list[Callable[[], Awaitable[int]]] = field(default_factory=list)
    """Number of files that differ from what was written; must be cheap, health asks often."""
    readiness: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """Parts without which no request can be served; they raise what is wrong."""
    gauges: list[Callable[[AsyncSession], Awaitable[Sequence[Gauge]]]] = field(default_factory=list)
    """Figures that are read from the database when they are asked for."""
    checks: list[Callable[[Services], Awaitable[Sequence[Finding]]]] = field(default_factory=list)
    """Further checks of ``doctor``."""
    store_users: list[Callable[[AsyncSession, int], Awaitable[Sequence[str]]]] = field(
        default_factory=list
    )
    """What stands on the store of this id, in words such as ``tier photos``."""
    store_moves: list[Callable[[Services, StoreRow, str], Awaitable[None]]] = field(
        default_factory=list
    )
    """Raise why a store cannot get this root; called outside of a transaction."""


def contributors(services: Services) -> Contributors:
    """The one object of this process, made on first use."""
    return services.find(Contributors) or services.add(Contributors())
