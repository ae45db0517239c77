"""Runs the benchmarks that are named, or all of them."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import (
    ask,
    batch,
    changes,
    consoles,
    freeze_again,
    freeze_decision,
    keepalive,
    lists,
    live,
    memory,
    migration,
    migration_under_load,
    pull,
    throughput,
)
from benchmarks.result import Result, out, show

BENCHMARKS: dict[str, Callable[[Path], Awaitable[list[Result]]]] = {
    "changes": changes.run,
    "batch": batch.run,
    "migration": migration.run,
    "migration-under-load": migration_under_load.run,
    "throughput": throughput.run,
    "keepalive": keepalive.run,
    "memory": memory.run,
    "consoles": consoles.run,
    "lists": lists.run,
    "live": live.run,
    "ask": ask.run,
    "freeze": freeze_decision.run,
    "freeze-again": freeze_again.run,
    "pull": pull.run,
}


async def _all(names: list[str]) -> list[Result]:
    results = []
    for name in names:
        out.print(f"[bold]{name}[/bold]")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
            found = await BENCHMARKS[name](Path(directory))
        out.print(f"  took {time.monotonic() - started:.0f} s", style="dim")
        show(found)
        results += found
    return results


def main() -> int:
    """0 whatever the figures are: they are told, and judged by who reads them."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        out.print(f"no benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
        return 2
    results = asyncio.run(_all(names))
    if len(names) > 1:
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
