"""Our protocol: pre-copy, then one short write hold; `docs/explanation/protocol-model.md`.

A mutation reads the flag, is counted under it, asks the gate if the flag it reads then holds
mutations back, and takes its pool from a third read. The driver may die once, at any point, with
a write on its way to D, and may step back once from a cutover.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from tests.migrations.protocol_model_world import (
    NOTHING,
    CounterKey,
    Move,
    Pool,
    State,
    World,
    Writer,
)

HOLDING = ("hold", "holdd")
SAFEGUARDS = {
    "first barrier": "the copy waits for requests that were counted before the first flag",
    "default recheck": "a request that saw no flag looks again after it was counted",
    "recheck": "a request reads the flag again after it was counted",
    "reread": "a request that waited takes its pool from the flag at its release",
    "gate": "a gate that does not answer is an error, never a way to S",
    "gate rule": "the gate lets go whoever the drain waits for, whatever flag it saw first",
    "drain": "the last copy waits for requests in flight",
    "log order": "the log line is written before the counter falls",
    "fence": "a new driver waits until the old one's copies have landed",
    "full pass": "a new driver compares everything again",
    "pins": "an upload is completed in the pool that holds it",
    "read settle": "a pinned upload is completed once reads sent to S before the flip are over",
}
TRACKED = ("src", "hold")
NOT_COUNTED = ("idle", "count", "uncounted")
CARRIES_A_COPY = ("bulk write", "full write", "replay write", "delta write")


def counted(state: State, *keys: CounterKey) -> bool:
    """Are requests in flight under these counters?"""
    return any(writer.key in keys and writer.at not in NOT_COUNTED for writer in state.writers)


class Holdfast(World):
    """One pool is authoritative at every instant."""

    write_pool: ClassVar[Mapping[str, Pool]] = {
        "none": "S",
        "src": "S",
        "hold": "S",
        "holdd": "D",
        "dst": "D",
    }
    read_pools: ClassVar[Mapping[str, tuple[Pool, ...]]] = {
        "none": ("S",),
        "src": ("S",),
        "hold": ("S",),
        "holdd": ("D",),
        "dst": ("D",),
    }
    list_pools = read_pools
    first_flag = "none"
    crashes = aborts = 1

    # Writers.
    def writer_moves(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        match writer.at:
            case "count":
                yield self.count(state, number, writer)
            case "gate":
                yield self.gate(state, number, writer)
            case "wait":
                yield from self.wait(state, number, writer)
            case "pool":
                pool = self.write_pool[state.flag]
                after = self.pooled(state.flag, writer)._replace(asked=-1)
                yield self.moved(f"third read: {state.flag}, pool {pool}", state, number, after)
            case "relayed":
                if state.driver != "dead":
                    yield self.wrote(state, number, writer, "D")
            case "acknowledged":
                yield self.after_the_answer(state, number, writer)
            case "logged":
                after = Writer(operation=writer.operation + 1)
                yield self.moved("no longer counted", state, number, after)
            case "uncounted":
                yield self.logged(state, number, writer, Writer(operation=writer.operation + 1))
            case _:
                yield from super().writer_moves(state, number, writer)

    def create_upload(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        if state.flag not in HOLDING or state.driver == "dead":
            yield from super().create_upload(state, number, writer)

    def start(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        state = self.begun(state, self.operation(number, writer))
        key: CounterKey = "default" if state.flag == "none" else "current"
        saw = state.flag if self.without else ""
        after = writer._replace(at="count", key=key, saw=saw)
        yield self.moved(f"starts, first read: {state.flag}", state, number, after)

    def count(self, state: State, number: int, writer: Writer) -> Move:
        after = writer._replace(at="gate")
        missing = {"none": "default recheck", "src": "recheck"}.get(writer.saw)
        if missing and missing == self.without:
            after = self.pooled(writer.saw, writer)
        return self.moved(f"counted under the {writer.key} flag", state, number, after)

    def pooled(self, flag: str, writer: Writer) -> Writer:
        return writer._replace(at="apply", pool=self.write_pool[flag], tracked=flag in TRACKED)

    def gate(self, state: State, number: int, writer: Writer) -> Move:
        if state.flag not in HOLDING:
            after = writer._replace(at="pool")
            return self.moved(f"second read: {state.flag}, passes", state, number, after)
        after = writer._replace(at="wait", asked=state.crashes)
        return self.moved(f"second read: {state.flag}, asks the gate", state, number, after)

    def wait(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        why = self.why_released(state, writer)
        if why is not None:
            after = writer._replace(at="pool")
            if self.without == "reread":
                after = self.pooled("hold", writer)
            yield self.moved(why, state, number, after)

    def why_released(self, state: State, writer: Writer) -> str | None:
        """What ends the wait of a request that asked the gate; None while it has to wait."""
        if state.driver == "dead" or writer.asked != state.crashes:
            return "the driver it asked is dead"
        if state.flag not in HOLDING:
            return "the gate is open"
        if state.flag != "hold":
            return None
        if self.without == "gate":
            return "no answer in time, goes on"
        drained_for = writer.key != "current" and state.driver in ("hold", "drain")
        if drained_for and (self.without != "gate rule" or writer.saw == "src"):
            return "counted before the hold, and the drain waits for it"
        return None

    def apply(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        pinned = self.kind(number, writer) == "mpu" and writer.upload == "S" and writer.pool == "D"
        if not pinned or self.without == "pins":
            yield from super().apply(state, number, writer)
            return
        reading = any(reader.pools[:1] == ("S",) for reader in state.readers)
        if state.driver != "dead" and (self.without == "read settle" or not reading):
            yield self.wrote(state, number, writer, "S", then="relayed")

    def acknowledge(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        state = state._replace(ended=state.ended | 1 << self.operation(number, writer))
        yield self.moved("acknowledged", state, number, writer._replace(at="acknowledged"))

    def after_the_answer(self, state: State, number: int, writer: Writer) -> Move:
        if self.without == "log order":
            return self.moved("no longer counted", state, number, writer._replace(at="uncounted"))
        return self.logged(state, number, writer, writer._replace(at="logged"))

    def logged(self, state: State, number: int, writer: Writer, after: Writer) -> Move:
        state = state._replace(dirty=state.dirty or writer.tracked)
        return self.moved("log line, if any", state, number, after)

    # The driver.
    def driver_moves(self, state: State) -> Iterator[Move]:
        match state.driver:
            case (
                "start" | "first barrier" | "bulk write" | "bulk done" | "full read" | "full write"
            ):
                yield from self.prepare(state)
            case "converge" | "replay write":
                yield from self.converge(state)
            case "hold" | "drain" | "delta" | "delta write" | "commit":
                yield from self.cut_over(state)
            case "dead" | "settle":
                yield from self.recover(state)
        if state.driver not in ("dead", "done") and state.crashes:
            yield self.crash(state)

    def prepare(self, state: State) -> Iterator[Move]:
        match state.driver:
            case "start":
                yield self.flagged(state, "src", "first barrier")
            case "first barrier":
                yield self.took(state, "bulk write")
                yield from self.past_first_barrier(state)
            case "bulk write":
                yield self.put(state, "bulk done")
            case "bulk done":
                yield from self.past_first_barrier(state)
            case "full read":
                yield self.took(state, "full write")
            case "full write":
                yield self.put(state, "converge")

    def past_first_barrier(self, state: State) -> Iterator[Move]:
        if self.without == "first barrier" or not counted(state, "default"):
            after = state._replace(driver="full read", dirty=False)
            yield "nobody is left who came before the first flag", after, None

    def converge(self, state: State) -> Iterator[Move]:
        if state.driver == "replay write":
            yield self.put(state, "converge")
            return
        if state.dirty:
            yield self.took(state._replace(dirty=False), "replay write")
        yield self.flagged(state, "hold", "hold")

    def cut_over(self, state: State) -> Iterator[Move]:
        match state.driver:
            case "hold":
                yield "drain begins", state._replace(driver="drain"), None
            case "drain":
                if self.without == "drain" or not counted(state, "default", "older"):
                    yield "drained", state._replace(driver="delta"), None
                yield from self.step_back(state)
            case "delta":
                if state.dirty:
                    yield self.took(state._replace(dirty=False), "delta write")
                else:
                    yield self.flagged(state, "holdd", "commit")
                yield from self.step_back(state)
            case "delta write":
                yield self.put(state, "delta")
            case "commit":
                yield self.flagged(state, "dst", "done")

    def step_back(self, state: State) -> Iterator[Move]:
        if state.aborts:
            yield self.flagged(state._replace(aborts=state.aborts - 1), "src", "converge")

    def recover(self, state: State) -> Iterator[Move]:
        match state.driver, state.flag:
            case "settle", _:
                yield from self.settle(state)
            case _, "none":
                yield "a new driver starts over", state._replace(driver="start"), None
            case _, "src":
                yield "a new driver finds src", state._replace(driver="settle"), None
            case _, "hold":
                yield self.flagged(state, "src", "settle")
            case _:
                yield self.flagged(state, "dst", "done")

    def settle(self, state: State) -> Iterator[Move]:
        if state.orphan is not None and self.without != "fence":
            return
        if self.without == "full pass":
            after = state._replace(driver="converge", dirty=False)
            yield "the new driver goes on where the old one was", after, None
        elif not counted(state, "default"):
            yield "all is compared again", state._replace(driver="full read", dirty=False), None

    def crash(self, state: State) -> Move:
        orphan = state.held if state.driver in CARRIES_A_COPY else state.orphan
        after = state._replace(
            driver="dead", held=NOTHING, crashes=state.crashes - 1, orphan=orphan
        )
        return f"the driver dies at {state.driver}", after, None

    def moves(self, state: State) -> Iterator[Move]:
        yield from super().moves(state)
        if state.orphan is not None:
            yield "a dead driver's write lands", state._replace(d=state.orphan, orphan=None), None
            yield "a dead driver's write is lost", state._replace(orphan=None), None

    def flagged(self, state: State, flag: str, driver: str) -> Move:
        writers = tuple(
            writer._replace(key="older") if writer.key == "current" else writer
            for writer in state.writers
        )
        return f"flag {flag}", state._replace(flag=flag, driver=driver, writers=writers), None

    def took(self, state: State, driver: str) -> Move:
        return "the copy reads S", state._replace(driver=driver, held=state.s), None

    def put(self, state: State, driver: str) -> Move:
        return "the copy writes D", state._replace(driver=driver, d=state.held, held=NOTHING), None
