"""The designs that split reads and writes between pools, as they are found in the wild."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from tests.migrations.protocol_model_world import (
    ABSENT,
    NOTHING,
    Move,
    Pool,
    State,
    World,
    Writer,
)

RETRIES = 3
"""How often a copy is verified before it counts as failed."""


class Split(World):
    """Copy; then write to D and read S, falling back to D; verify by copying again; switch."""

    write_pool: ClassVar[Mapping[str, Pool]] = {"S": "S", "split": "D", "D": "D"}
    read_pools: ClassVar[Mapping[str, tuple[Pool, ...]]] = {
        "S": ("S",),
        "split": ("S", "D"),
        "D": ("D",),
    }
    list_pools: ClassVar[Mapping[str, tuple[Pool, ...]]] = {
        "S": ("S",),
        "split": ("S",),
        "D": ("D",),
    }
    splits = True

    def driver_moves(self, state: State) -> Iterator[Move]:
        match state.driver.split():
            case ["start"]:
                yield "copy reads S", state._replace(driver="copy", held=state.s), None
            case ["copy"]:
                yield self.copied(state, "copied")
            case ["copied"]:
                flag = "split" if self.splits else state.flag
                yield f"reload: {flag}", state._replace(driver="verify 1", flag=flag), None
            case ["verify", number]:
                after = state._replace(driver=f"writing {number}", held=state.s)
                yield "verify reads S", after, None
            case ["writing", number]:
                yield self.copied(state, f"compare {number}")
            case ["compare", number]:
                if state.s != state.d and int(number) < RETRIES:
                    again = f"verify {int(number) + 1}"
                    yield "they differ: again", state._replace(driver=again), None
                else:
                    # Equal, or an operator gives up waiting.
                    yield "reload: D", state._replace(driver="done", flag="D"), None

    def copied(self, state: State, then: str) -> Move:
        """A copy never deletes."""
        value = state.d if state.held == ABSENT else state.held
        return f"copy: D is {value}", state._replace(driver=then, d=value, held=NOTHING), None


class ConvergedSplit(Split):
    """The same when the counts were equal from the start: no split, straight to the switch."""

    splits = False


class DestinationFirst(World):
    """Copy; write to D, read D and fall back to S; copy what D does not have; switch."""

    write_pool: ClassVar[Mapping[str, Pool]] = {"S": "S", "both": "D", "D": "D"}
    read_pools: ClassVar[Mapping[str, tuple[Pool, ...]]] = {
        "S": ("S",),
        "both": ("D", "S"),
        "D": ("D",),
    }
    list_pools: ClassVar[Mapping[str, tuple[Pool, ...]]] = {
        "S": ("S",),
        "both": ("D",),
        "D": ("D",),
    }

    def driver_moves(self, state: State) -> Iterator[Move]:
        match state.driver:
            case "start":
                yield "copy reads S", state._replace(driver="copy", held=state.s), None
            case "copy":
                yield self.copied(state, "copied")
            case "copied":
                yield "reload: both", state._replace(driver="fill", flag="both"), None
            case "fill":
                held = state.s if state.d == ABSENT else ABSENT
                after = state._replace(driver="filling", held=held)
                yield "copy of what D lacks reads both", after, None
            case "filling":
                yield self.copied(state, "filled")
            case "filled":
                yield "reload: D", state._replace(driver="done", flag="D"), None

    def copied(self, state: State, then: str) -> Move:
        value = state.d if state.held == ABSENT else state.held
        return f"copy: D is {value}", state._replace(driver=then, d=value, held=NOTHING), None


class DeletingDestinationFirst(DestinationFirst):
    """The same, with deletes sent to both pools."""

    def apply(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        if self.kind(number, writer) == "del" and writer.pool == "D" and state.flag == "both":
            yield self.wrote(state, number, writer, "S", then="delete on D")
        else:
            yield from super().apply(state, number, writer)
