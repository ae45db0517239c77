"""A treemap: boxes whose areas are sizes, as square as can be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 100.0, 40.0
"""The shape that boxes are made square in; on a page they stretch with it."""
LEAST_AREA = 0.0004
"""A smaller share of the whole is not drawn: nobody could see it."""
SHADES = 5
WIDE_LABEL, TALL_LABEL = 7.0, 7.0
NARROW_LABEL = 24.0
"""Shares of width and height, in percent, from which on a box has its name in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A folder. Places and sizes are percents of the whole map."""

    path: str
    size_bytes: int
    cold_bytes: int
    x: float
    y: float
    width: float
    height: float

    @property
    def cold_percent(self) -> float:
        """How much of it is unread for long."""
        return 100.0 * self.cold_bytes / self.size_bytes if self.size_bytes else 0.0

    @property
    def shade(self) -> int:
        """0 to `SHADES` - 1: the more is unread, the darker."""
        return min(SHADES - 1, int(self.cold_percent * SHADES / 100))

    @property
    def label(self) -> str:
        """Where its name fits: ``always``, ``wide`` windows only, or ``never``."""
        if self.width < WIDE_LABEL or self.height < TALL_LABEL:
            return "never"
        return "always" if self.width >= NARROW_LABEL else "wide"


@dataclass(frozen=True, slots=True)
class Area:
    """Where boxes go."""

    x: float
    y: float
    width: float
    height: float


def boxes(treemap: Mapping[str, Any], days: str) -> list[Box]:
    """The boxes of a report's treemap, two folders deep; ``days``: the age that shades them."""
    whole = treemap["bytes"]
    if not whole:
        return []
    found: list[Box] = []
    top = _parts(treemap, "")
    for (path, node), area in zip(
        top, squarified([node["bytes"] for _, node in top], Area(0, 0, WIDTH, HEIGHT)), strict=True
    ):
        inner = _parts(node, path) if node["children"] else [(path, node)]
        areas = squarified([one["bytes"] for _, one in inner], area)
        for (name, one), place in zip(inner, areas, strict=True):
            if one["bytes"] >= LEAST_AREA * whole:
                found.append(_box(name, one, place, days))
    return found


def squarified(sizes: Sequence[float], area: Area) -> list[Area]:
    """An area for each size, which are given largest first (Bruls, Huizing, van Wijk 2000)."""
    total = sum(sizes)
    if not total:
        return [Area(area.x, area.y, 0, 0) for _ in sizes]
    scale = area.width * area.height / total
    return list(_placed([size * scale for size in sizes], area))


def _placed(sizes: Sequence[float], area: Area) -> Iterator[Area]:
    start = 0
    while start < len(sizes):
        side = min(area.width, area.height)
        end = start + 1
        while end < len(sizes) and _worst(sizes[start : end + 1], side) <= _worst(
            sizes[start:end], side
        ):
            end += 1
        row = sizes[start:end]
        yield from _row(row, area)
        area = _rest(sum(row), area)
        start = end


def _worst(row: Sequence[float], side: float) -> float:
    """The most oblong box of a row along this side: its longer side over its shorter one."""
    total = sum(row)
    least = min(row)
    if not total or not least or not side:
        return float("inf")
    return max(side * side * max(row) / total**2, total**2 / (side * side * least))


def _row(row: Sequence[float], area: Area) -> Iterator[Area]:
    total, at = sum(row), 0.0
    is_column = area.width >= area.height
    side = area.height if is_column else area.width
    thick = total / side if side else 0.0
    for size in row:
        long = size / thick if thick else 0.0
        if is_column:
            yield Area(area.x, area.y + at, thick, long)
        else:
            yield Area(area.x + at, area.y, long, thick)
        at += long


def _rest(used: float, area: Area) -> Area:
    if area.width >= area.height:
        thick = used / area.height if area.height else 0.0
        return Area(area.x + thick, area.y, max(0.0, area.width - thick), area.height)
    thick = used / area.width if area.width else 0.0
    return Area(area.x, area.y + thick, area.width, max(0.0, area.height - thick))


def _parts(node: Mapping[str, Any], path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The folders in a folder, and what lies right in it, largest first."""
    start = f"{path}/" if path else ""
    parts = [(start + child["name"], child) for child in node["children"]]
    own = node["bytes"] - sum(child["bytes"] for child in node["children"])
    if own > 0:
        cold = {
            days: size - sum(child["unread_bytes"][days] for child in node["children"])
            for days, size in node["unread_bytes"].items()
        }
        here = {"name": "files", "bytes": own, "unread_bytes": cold, "children": []}
        parts.append((f"{start}(files)", here))
    return sorted(parts, key=lambda part: -part[1]["bytes"])


def _box(path: str, node: Mapping[str, Any], area: Area, days: str) -> Box:
    return Box(
        path=path,
        size_bytes=node["bytes"],
        cold_bytes=node["unread_bytes"][days],
        x=round(area.x, 3),
        y=round(100 * area.y / HEIGHT, 3),
        width=round(area.width, 3),
        height=round(100 * area.height / HEIGHT, 3),
    )
