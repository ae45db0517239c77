"""One key, two pools, and clients: the part of the model that every design shares.

Writers put, delete or upload in parts, one operation after the other; each reader reads twice, the
object or the listing. A request reads its route at one moment and acts at a later one, and between
any two moves of one party the others may make any number of theirs.

A read is legal when it returns the value of an operation that had started, and that is not strictly
older (in real time) than one that had ended before the read began, or that the same reader saw.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

Kind = Literal["put", "del", "mpu"]
Pool = Literal["S", "D"]
CounterKey = Literal["default", "older", "current"]
"""An epoch, as far as anybody compares it: before the first flag, before the present one, this."""
Move = tuple[str, "State", str | None]
"""What happens, the state after it, and the promise that it breaks."""

ABSENT = -1
READS = 2
"""Reads of one reader."""
FIRST_PUT = 0
"""The operation that stored the object before the story begins."""


class Writer(NamedTuple):
    """Where a writer is in its list of operations."""

    at: str = "idle"
    operation: int = 0
    """How many of its operations are over."""
    key: CounterKey | None = None
    """What the flag that the request saw first is by now; its counter's key."""
    saw: str = ""
    """That flag; kept only where a missing safeguard needs it."""
    pool: Pool | None = None
    tracked: bool = False
    """The flag that named the pool asked for a line in the log."""
    upload: Pool | None = None
    """Pool that holds the multipart upload."""
    asked: int = -1
    """Which driver the gate's question went to: the crashes that were left when it was asked."""


class Reader(NamedTuple):
    """Where a reader is; ``pools`` is what its running read will ask, in order."""

    at: str = "idle"
    reads: int = 0
    known: int = 0
    """Operations that the running read may not be older than, as bits."""
    pools: tuple[Pool, ...] = ()
    saw: int | None = None


class State(NamedTuple):
    """Everything there is at one instant."""

    s: int
    """Value of the key in the source: the operation that wrote it, or `ABSENT`."""
    d: int
    flag: str
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    before: tuple[int, ...]
    """For each operation, those that had ended when it started, as bits."""
    started: int
    ended: int
    dirty: bool
    """The log holds a line that the driver has not read."""
    driver: str
    """Where the driver of the migration is; what it holds in its hands is ``held``."""
    held: int
    orphan: int | None
    """A write of a dead driver that may still land on D."""
    crashes: int
    """How often a driver may still die."""
    aborts: int
    """How often a cutover may still step back."""


NOTHING = -2
"""The driver holds no value."""


def _replaced_quickly(kind: type[Writer | State]) -> Any:
    """``_replace`` in half the time: a search does little else, some millions of times."""
    places = {name: number for number, name in enumerate(kind._fields)}
    made = tuple.__new__

    def replaced(self: Writer | State, /, **changes: object) -> Writer | State:
        values: list[object] = list(self)
        for name, value in changes.items():
            values[places[name]] = value
        return made(kind, values)

    return replaced


for _kind in (Writer, State):
    _kind._replace = _replaced_quickly(_kind)  # type: ignore[method-assign]


class World:
    """Clients behind a gateway that reads its route once; a design adds the driver."""

    write_pool: ClassVar[Mapping[str, Pool]]
    read_pools: ClassVar[Mapping[str, tuple[Pool, ...]]]
    list_pools: ClassVar[Mapping[str, tuple[Pool, ...]]]
    first_flag = "S"
    crashes = aborts = 0

    def __init__(
        self,
        writers: tuple[tuple[Kind, ...], ...],
        reader: Literal["get", "list"],
        *,
        without: str = "",
    ) -> None:
        self.writers = writers
        self.reader = reader
        self.without = without
        """The safeguard that is knocked out."""
        self.kinds: list[Kind] = ["put", *(kind for writer in writers for kind in writer)]
        offsets = [1 + sum(map(len, writers[:number])) for number in range(len(writers))]
        self.operations = [
            [offset + index for index in range(len(writer))]
            for offset, writer in zip(offsets, writers, strict=True)
        ]
        self.values = [
            ABSENT if kind == "del" else number for number, kind in enumerate(self.kinds)
        ]

    def initial(self) -> State:
        return State(
            s=FIRST_PUT,
            d=ABSENT,
            flag=self.first_flag,
            writers=tuple(Writer() for _ in self.writers),
            readers=(Reader(),),
            before=(0,) * len(self.kinds),
            started=1,
            ended=1,
            dirty=False,
            driver="start",
            held=NOTHING,
            orphan=None,
            crashes=self.crashes,
            aborts=self.aborts,
        )

    def moves(self, state: State) -> Iterator[Move]:
        for number, writer in enumerate(state.writers):
            yield from self.writer_moves(state, number, writer)
        for number, reader in enumerate(state.readers):
            yield from self.reader_moves(state, number, reader)
        yield from self.driver_moves(state)

    # The driver: a design's own.
    def driver_moves(self, state: State) -> Iterator[Move]:
        raise NotImplementedError

    # Writers.
    def writer_moves(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        match writer.at:
            case "idle" if writer.operation < len(self.writers[number]):
                if self.kind(number, writer) == "mpu" and writer.upload is None:
                    yield from self.create_upload(state, number, writer)
                else:
                    yield from self.start(state, number, writer)
            case "apply":
                yield from self.apply(state, number, writer)
            case "delete on D":
                yield self.wrote(state, number, writer, "D")
            case "acknowledge":
                yield from self.acknowledge(state, number, writer)

    def operation(self, number: int, writer: Writer) -> int:
        return self.operations[number][writer.operation]

    def kind(self, number: int, writer: Writer) -> Kind:
        return self.writers[number][writer.operation]

    def create_upload(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        pool = self.write_pool[state.flag]
        yield self.moved(f"create-upload -> {pool}", state, number, writer._replace(upload=pool))

    def start(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        pool = self.write_pool[state.flag]
        state = self.begun(state, self.operation(number, writer))
        yield self.moved(
            f"starts, goes to {pool}", state, number, writer._replace(at="apply", pool=pool)
        )

    def apply(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        if self.kind(number, writer) == "mpu" and writer.upload != writer.pool:
            yield "complete finds no upload", state, "failed request"
        else:
            yield self.wrote(state, number, writer, writer.pool or "S")

    def acknowledge(self, state: State, number: int, writer: Writer) -> Iterator[Move]:
        state = state._replace(ended=state.ended | 1 << self.operation(number, writer))
        yield self.moved("acknowledged", state, number, Writer(operation=writer.operation + 1))

    def begun(self, state: State, operation: int) -> State:
        before = list(state.before)
        before[operation] = state.ended
        return state._replace(before=tuple(before), started=state.started | 1 << operation)

    def wrote(
        self, state: State, number: int, writer: Writer, pool: Pool, then: str = "acknowledge"
    ) -> Move:
        value = self.values[self.operation(number, writer)]
        state = state._replace(s=value) if pool == "S" else state._replace(d=value)
        return self.moved(f"applied on {pool}", state, number, writer._replace(at=then))

    def moved(self, label: str, state: State, number: int, writer: Writer) -> Move:
        """The move of one writer, which is in ``writer`` after it."""
        writers = (*state.writers[:number], writer, *state.writers[number + 1 :])
        return f"writer {number}: {label}", state._replace(writers=writers), None

    # Readers.
    def reader_moves(self, state: State, number: int, reader: Reader) -> Iterator[Move]:
        if reader.at == "idle":
            if reader.reads < READS:
                known = state.ended | (0 if reader.saw is None else 1 << reader.saw)
                pools = (self.read_pools if self.reader == "get" else self.list_pools)[state.flag]
                after = Reader("read", reader.reads, known, pools, reader.saw)
                yield self.read(f"{self.reader} starts, asks {pools}", state, number, after)
            return
        value = state.s if reader.pools[0] == "S" else state.d
        if value == ABSENT and len(reader.pools) > 1:
            after = reader._replace(pools=reader.pools[1:])
            yield self.read(f"404 on {reader.pools[0]}, falls back", state, number, after)
            return
        label = f"{self.reader} on {reader.pools[0]} returns {value}"
        seen = self.legal(state, reader.known, value)
        if seen is None:
            broken = "lost" if value == ABSENT else "stale or resurrected"
            yield f"reader {number}: {label}", state, f"{broken} {self.reader}"
        else:
            yield self.read(label, state, number, Reader(reads=reader.reads + 1, saw=seen))

    def read(self, label: str, state: State, number: int, reader: Reader) -> Move:
        readers = (*state.readers[:number], reader, *state.readers[number + 1 :])
        return f"reader {number}: {label}", state._replace(readers=readers), None

    def legal(self, state: State, known: int, value: int) -> int | None:
        """An operation whose value may be seen by one who knows of ``known``."""
        for operation, wrote in enumerate(self.values):
            if wrote != value or not state.started >> operation & 1:
                continue
            newer = (
                known >> other & 1 and state.before[other] >> operation & 1
                for other in range(len(self.values))
            )
            if not any(newer):
                return operation
        return None

    def broken_at_the_end(self, state: State) -> str | None:
        """What is wrong with a state from which nothing moves."""
        if state.driver != "done":
            return "deadlock: the migration never ends"
        writers_done = all(
            writer.at == "idle" and writer.operation == len(self.writers[number])
            for number, writer in enumerate(state.writers)
        )
        if not writers_done or any(reader.reads < READS for reader in state.readers):
            return "deadlock: a client never ends"
        if self.legal(state, state.ended, state.d) is None:
            return "acknowledged write lost, or delete undone, at the end"
        return None


class Found(NamedTuple):
    """What a search saw."""

    states: int
    broken: dict[str, list[str]]
    """Each broken promise, with the shortest story that leads to it."""


def search(world: World, *, until_broken: bool = False) -> Found:
    """Visit every reachable state, breadth first; or stop at the first broken promise."""
    first = world.initial()
    parents: dict[State, State | None] = {first: None}
    queue = deque([first])
    broken: dict[str, list[str]] = {}
    while queue:
        state = queue.popleft()
        final = True
        for label, after, breaks in world.moves(state):
            final = False
            if breaks is not None:
                if breaks not in broken:
                    broken[breaks] = [*_story(world, parents, state), label]
            elif after not in parents:
                parents[after] = state
                queue.append(after)
        if final and (breaks := world.broken_at_the_end(state)) and breaks not in broken:
            broken[breaks] = _story(world, parents, state)
        if until_broken and broken:
            break
    return Found(len(parents), broken)


def _story(world: World, parents: dict[State, State | None], state: State) -> list[str]:
    story = []
    while (parent := parents[state]) is not None:
        story.append(next(label for label, after, _ in world.moves(parent) if after == state))
        state = parent
    return story[::-1]
