"""Exhaustive check of the migration protocol, and of the designs that it replaces.

``python -m tests.migrations.protocol_model`` checks a bounded set of stories; ``--full`` all of
them, over every safeguard, and prints the table of `docs/explanation/protocol-model.md`;
``--stories`` adds the shortest story to each broken promise.
"""

import argparse
import gc
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations_with_replacement, product
from typing import Literal, NamedTuple

from tests.migrations.protocol_model_holdfast import SAFEGUARDS, Holdfast
from tests.migrations.protocol_model_naive import (
    ConvergedSplit,
    DeletingDestinationFirst,
    DestinationFirst,
    Split,
)
from tests.migrations.protocol_model_world import Found, Kind, World, search

KINDS: tuple[Kind, ...] = ("put", "del", "mpu")
NAIVE: dict[str, type[World]] = {
    "split, S first": Split,
    "split, counts equal": ConvergedSplit,
    "D first, fall back to S": DestinationFirst,
    "D first, delete on both": DeletingDestinationFirst,
}


class Scenario(NamedTuple):
    """What the clients do."""

    writers: tuple[tuple[Kind, ...], ...]
    reader: Literal["get", "list"]


def readers(writers: Iterable[tuple[tuple[Kind, ...], ...]]) -> list[Scenario]:
    """Each list of writers with a reader of the object, and with one of the listing."""
    both: tuple[Literal["get", "list"], ...] = ("get", "list")
    return [Scenario(each, reader) for each in writers for reader in both]


ONE_WRITER: list[tuple[tuple[Kind, ...], ...]] = [(pair,) for pair in product(KINDS, KINDS)]
TWO_WRITERS = [((one,), (two,)) for one, two in combinations_with_replacement(KINDS, 2)]
ALL = [Scenario(writers, "get") for writers in [*ONE_WRITER, *TWO_WRITERS]]
"""Ours gives a listing the pool that it gives an object, so one kind of reader stands for both."""
SOME = readers([(("put", "del"),), (("del", "put"),), (("mpu",),), (("put",), ("del",))])
"""Enough to show what is wrong with everything that is wrong."""


class Task(NamedTuple):
    """One search."""

    design: str
    scenario: Scenario
    without: str = ""


def check(task: Task) -> Found:
    """Search one scenario; a knocked-out safeguard only until it is missed."""
    world = NAIVE.get(task.design, Holdfast)
    gc.disable()  # millions of tuples and not one cycle
    try:
        return search(
            world(task.scenario.writers, task.scenario.reader, without=task.without),
            until_broken=bool(task.without),
        )
    finally:
        gc.enable()


def check_all(design: str, tasks: Iterable[Scenario], without: str = "") -> Found:
    """Search scenarios one after the other; a knocked-out safeguard until it is missed."""
    states = 0
    broken: dict[str, list[str]] = {}
    for scenario in tasks:
        found = check(Task(design, scenario, without))
        states += found.states
        for promise, story in found.broken.items():
            if promise not in broken or len(story) < len(broken[promise]):
                broken[promise] = story
        if without and broken:
            break
    return Found(states, broken)


def rows(*, full: bool) -> Iterator[tuple[str, Found]]:
    """Each line of the table, when it is known."""
    for name in NAIVE:
        yield name, check_all(name, SOME)
    for name in SAFEGUARDS:
        yield f"Holdfast without: {name}", check_all("Holdfast", SOME, name)
    yield (
        "Holdfast",
        check_everything(ALL if full else [each for each in SOME if each.reader == "get"]),
    )


def check_everything(chosen: list[Scenario]) -> Found:
    """Our protocol over scenarios, on all cores."""
    states = 0
    broken: dict[str, list[str]] = {}
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1) as pool:
        for found in pool.map(check, [Task("Holdfast", scenario) for scenario in chosen]):
            states += found.states
            broken |= found.broken
    return Found(states, broken)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Print the table; status 1 when our protocol breaks a promise or a safeguard is not missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all scenarios")
    parser.add_argument("--stories", action="store_true", help="how each promise is broken")
    options = parser.parse_args()
    wrong = 0
    for name, found in rows(full=options.full):
        promises = ", ".join(sorted(found.broken)) or "none"
        say(f"{name:<36} {found.states:>10,} states  broken: {promises}")
        if bool(found.broken) == (name == "Holdfast"):
            wrong += 1
        for promise, story in found.broken.items() if options.stories else ():
            say("\n    ".join([f"  {promise}:", *story]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
