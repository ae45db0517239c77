"""What slices add to the console: navigation, search, what needs the operator, templates."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.work import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    """One entry of the navigation."""

    title: str
    href: str
    icon: str
    """A name in ``macros.html.j2``'s ``icon``."""
    group: str = "Site"
    order: int = 50
    role: Role = Role.VIEWER
    also: tuple[str, ...] = ()
    """Further addresses that belong to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Something that a search found, or an action that can be begun."""

    title: str
    href: str
    kind: str
    detail: str = ""
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A button that does something at once."""

    words: str
    action: str
    """Where it posts to."""
    api: tuple[str, str]
    """The call that does the same: method and path."""
    cli: str
    """The command that does the same, without ``holdfast``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that waits for the operator, with the action that mends it."""

    title: str
    detail: str
    href: str
    action: str
    """What the link says: a verb."""
    level: str = "warn"
    """``bad`` or ``warn``."""
    topic: str = ""
    role: Role = Role.VIEWER
    """Who may mend it; others are told, without the link."""
    acts: tuple[Act, ...] = ()
    """What mends it without looking further; for operators."""
    instead_of: str = ""
    """The address of another need that it tells better: that one is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the overview."""

    title: str
    value: str
    href: str = ""
    detail: str = ""
    unit: str = ""
    """What follows the value: ``/s``."""
    bind: str = ""
    """Key and field of progress events that fill it, as ``migration/7:bytes_per_second``."""
    format: str = "count"
    """How they are shown: ``size``, ``count`` or ``duration``."""


Searcher = Callable[[Services, AsyncSession, str], Awaitable[Sequence[Hit]]]
Needing = Callable[[Services, AsyncSession], Awaitable[Sequence[Need]]]
Counting = Callable[[Services, AsyncSession], Awaitable[Sequence[Figure]]]


@dataclass(slots=True)
class ConsoleParts:
    """One object a process."""

    nav: list[NavItem] = field(default_factory=list)
    actions: list[Hit] = field(default_factory=list)
    """Always found by their words: "New pool"."""
    searchers: list[Searcher] = field(default_factory=list)
    needs: list[Needing] = field(default_factory=list)
    figures: list[Counting] = field(default_factory=list)
    topics: list[str] = field(default_factory=lambda: ["job", "identity"])
    """Topics of events that pages hear of."""
    links: dict[str, list[Hit]] = field(default_factory=dict)
    """Links on pages of the kernel, by place: ``jobs``: what begins the first job; ``store``: what
    begins to use one, whose id is added to the address."""
    templates: dict[str, str] = field(default_factory=dict)
    """Prefix of template names to the package whose folder ``templates`` has them."""


def console_parts(services: Services) -> ConsoleParts:
    """The parts of this process, made on first use."""
    return services.find(ConsoleParts) or services.add(ConsoleParts())
