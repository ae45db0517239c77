"""What nginx makes of routing flags from a reload until they are written anew.

A flag may name a pool that goes with the reload, or whose name is another pool's from then on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from holdfast.gateway.flag_change import FlagChange, Place
from holdfast.gateway.render_model import DEFAULT_POOL, pool_alias
from holdfast.kernel.errors import Conflict


@dataclass(frozen=True, slots=True)
class Handover:
    """How no request fails or goes astray meanwhile."""

    former: Mapping[str, str] = field(default_factory=dict)
    """Aliases of pools that go, and the pool that takes their requests."""
    early: frozenset[Place] = frozenset()
    """Flags that must change before the reload."""


def plan_handover(
    flags: FlagChange,
    *,
    written: Collection[str],
    coming: Collection[str],
    renamed: Mapping[str, str],
    gone_vhosts: Collection[str],
) -> Handover:
    """What becomes of the flags that a change takes away or sets.

    ``written`` and ``coming``: names of pools before and after it. Raises ``Conflict`` when that
    takes two changes.
    """
    renames = [(old, new) for old, new in renamed.items() if old != new]
    reused = {old for old, _ in renames if old in coming} | {n for _, n in renames if n in written}
    again = {pool_alias(name) for name in reused}
    former: dict[str, str] = {}
    early: dict[Place, str] = {}
    for alias, places in _stale(flags, coming, again, gone_vhosts).items():
        targets = set(places.values())
        if alias in again or len(targets) > 1:
            early |= places
        else:
            former[alias] = targets.pop()
    unknown = set(early.values()) - (set(written) - reused) - {DEFAULT_POOL}
    if unknown:
        raise Conflict(
            f"buckets cannot go to pool {min(unknown)!r} in the same change that takes away, or "
            "names anew, the pool they come from",
            hint="make two changes of it: the buckets' routes first",
        )
    return Handover(former, frozenset(early))


def _stale(
    flags: FlagChange, coming: Collection[str], again: set[str], gone_vhosts: Collection[str]
) -> dict[str, dict[Place, str]]:
    """Places by the alias that will not do any more, each with the pool that it goes to."""
    names = {pool_alias(name): name for name in coming}
    good = names.keys() - again
    found: dict[str, dict[Place, str]] = {}
    for place in flags.wanted.keys() | flags.removed:
        flag = flags.before[place]
        if flag is not None and flag.serving_alias not in good and place[0] not in gone_vhosts:
            to = flags.wanted.get(place)
            found.setdefault(flag.serving_alias, {})[place] = names[to] if to else DEFAULT_POOL
    return found
