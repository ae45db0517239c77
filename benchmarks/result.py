"""What a benchmark found, and the table of it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

out = Console(width=150)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table."""

    what: str
    ours: str
    against: str
    """The bare tool's figure, or what else is compared with."""
    ratio: str
    reach: str
    reached: bool | None
    """None: told for its own sake, there is nothing to reach."""


def compared(
    what: str,
    ours: Sequence[float],
    bare: Sequence[float],
    *,
    reach: float | None,
    unit: str = "ms",
    at_least: bool = False,
) -> Result:
    """Medians, and the median of the ratios of each round: what slows one slows its neighbour too.

    ``at_least``: more is better, as with requests a second.
    """
    mine, other = statistics.median(ours), statistics.median(bare)
    ratio = statistics.median(one / two for one, two in zip(ours, bare, strict=True))
    bound = "at least" if at_least else "at most"
    return Result(
        what=what,
        ours=f"{mine:.4g} {unit}",
        against=f"{other:.4g} {unit}",
        ratio=f"{ratio:.2f}",
        reach="" if reach is None else f"{bound} {reach:g}",
        reached=None if reach is None else (ratio >= reach if at_least else ratio <= reach),
    )


def counted(
    what: str, value: float, *, at_most: float | None, unit: str, against: str = ""
) -> Result:
    """A figure that is compared with a limit."""
    return Result(
        what=what,
        ours=f"{value:.4g} {unit}",
        against=against,
        ratio="",
        reach="" if at_most is None else f"at most {at_most:g} {unit}",
        reached=None if at_most is None else value <= at_most,
    )


def tell(text: str) -> None:
    """A line about how far it is."""
    out.print(f"  {text}", style="dim", highlight=False)


def show(results: Sequence[Result]) -> None:
    """Print the table."""
    table = Table(title="Holdfast against the bare tools (medians)")
    for name in ("what", "Holdfast", "against", "ratio", "reach", "reached"):
        table.add_column(name, overflow="fold")
    words = {True: "yes", False: "[red]no[/red]", None: ""}
    for r in results:
        table.add_row(r.what, r.ours, r.against, r.ratio, r.reach, words[r.reached])
    out.print(table)
