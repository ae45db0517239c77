"""Clients that never stop: they write, read, delete, list, upload; each answer is judged."""

import asyncio
import base64
import collections
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field

from holdfast.demo.history import ABSENT, Fault, History, Operation
from holdfast.demo.wire import Answer, Wire

MIB = 1024 * 1024
SLOW_DOWN = 503
BODY_WORDS = 3
"""Key, version, filling."""
LONGEST_EXAMPLES = 5


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    requests: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: collections.Counter[Fault] = field(default_factory=collections.Counter)
    examples: dict[Fault, list[str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    server_torn: int = 0
    """Reads that the store itself broke off while the same key was being replaced (nanio does)."""
    slowed_down: int = 0
    """503 SlowDown answers that were followed by another try; only when tolerated."""

    def fault(self, fault: Fault, example: str) -> None:
        """Count a fault and keep the first few examples."""
        self.faults[fault] += 1
        kept = self.examples.setdefault(fault, [])
        if len(kept) < LONGEST_EXAMPLES:
            kept.append(example)

    def longest(self, *kinds: str) -> float:
        """The longest time, in seconds, that a request of these kinds took."""
        return max((max(self.seconds[kind], default=0.0) for kind in kinds), default=0.0)

    def percentile(self, share: float, *kinds: str) -> float:
        """The time, in seconds, within which this share of the requests was answered."""
        times = sorted(second for kind in kinds for second in self.seconds[kind])
        return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0

    @property
    def total(self) -> int:
        """All requests."""
        return self.requests.total()

    @property
    def clean(self) -> bool:
        """Whether there was not one fault."""
        return not self.faults.total()


READS = ("get", "head", "range", "presigned get", "list")
WRITES = ("put", "presigned put", "delete", "delete many", "copy", "slow put", "complete upload")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many clients, and how busy; ``pause_seconds`` is the mean between a writer's requests."""

    writers: int = 6
    keys_per_writer: int = 8
    readers: int = 3
    listers: int = 1
    uploaders: int = 2
    slow_writers: int = 1
    pause_seconds: float = 0.06
    part_bytes: int = 5 * MIB
    """Size of an upload's first part; S3 itself takes no smaller one, many servers do."""
    tolerate_slow_down: bool = False


class Traffic:
    """The clients of one bucket. ``prefix`` is theirs alone."""

    def __init__(
        self, wire: Wire, bucket: str, load: Load, *, prefix: str = "live/", seed: int = 0
    ) -> None:
        self.wire, self.bucket, self.load, self.prefix = wire, bucket, load, prefix
        self.history, self.tally = History(), Tally()
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._versions: collections.Counter[str] = collections.Counter()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep all clients busy until `stop` is called and their last requests were answered."""
        keys = [
            [f"{self.prefix}{writer:02d}/{number}" for number in range(self.load.keys_per_writer)]
            for writer in range(self.load.writers)
        ]
        every = [key for own in keys for key in own]
        async with asyncio.TaskGroup() as group:
            for own in keys:
                group.create_task(self._writer(own))
            for _ in range(self.load.readers):
                group.create_task(self._reader(every))
            for _ in range(self.load.listers):
                group.create_task(self._lister())
            for number in range(self.load.uploaders):
                group.create_task(self._uploader(f"{self.prefix}upload/{number}"))
            for number in range(self.load.slow_writers):
                group.create_task(self._slow_writer(f"{self.prefix}slow/{number}"))

    def stop(self) -> None:
        """Let each client finish what it does, and end."""
        self._stopping.set()

    async def audit(self, expected: dict[str, str]) -> None:
        """Read every key once more, and check that ``expected`` (key to ETag) is all there."""
        for key in list(self.history.operations):
            await self.read(key, "get")
        listed = await self.wire.list_all(self.bucket, "", 1000)
        if isinstance(listed, Answer):
            self.tally.fault(Fault.FAILED, f"final listing: {listed.status}")
            return
        moment = time.monotonic()
        for key in self.history.judge_listing(listed, moment, moment, self.prefix):
            self.tally.fault(Fault.LISTING, f"final listing: {key}")
        for key, etag in expected.items():
            if listed.get(key) != etag:
                self.tally.fault(Fault.LOST, f"{key}: {listed.get(key)} instead of {etag}")

    async def read(self, key: str, how: str) -> None:
        """Read a key in one of the ways of `READS` but list, and judge the answer."""
        started = time.monotonic()
        answer = await self._send_read(key, how)
        ended = time.monotonic()
        quiet = len(self.history.allowed(key, started, ended)) == 1
        if (answer.torn or answer.status in {400, 416, 500}) and not quiet:
            self.tally.server_torn += 1
            return
        seen = ABSENT if answer.status == 404 else self._version_in(answer, how)  # noqa: PLR2004
        if seen is None and answer.ok and not quiet:
            self.tally.server_torn += 1
            return
        if seen is None:
            self.tally.fault(Fault.FAILED, f"{how} {key}: {answer.status} {answer.body[:120]!r}")
            return
        fault = self.history.judge(key, seen, started, ended)
        if fault and how == "head" and not quiet:
            self.tally.server_torn += 1  # nanio replaces data first, metadata second
        elif fault:
            allowed = [o.version for o in self.history.allowed(key, started, ended)]
            self.tally.fault(fault, f"{how} {key}: version {seen} instead of {allowed}")

    async def _send_read(self, key: str, how: str) -> Answer:
        if how == "presigned get":
            return await self._timed(
                how, self.wire.send_presigned("GET", self.bucket, key, headers={})
            )
        headers = {"range": "bytes=0-63"} if how == "range" else None
        method = "HEAD" if how == "head" else "GET"
        return await self._timed(how, self.wire.send(method, self.bucket, key, headers=headers))

    @staticmethod
    def _version_in(answer: Answer, how: str) -> int | None:
        if not answer.ok:
            return None
        if how == "head":
            return int(answer.headers.get("x-amz-meta-version", "-1"))
        words = answer.body.split(b"|", 2)
        return int(words[1]) if len(words) == BODY_WORDS else None

    async def _timed(self, kind: str, request: Awaitable[Answer]) -> Answer:
        started = time.monotonic()
        answer = await request
        self.tally.requests[kind] += 1
        self.tally.seconds[kind].append(time.monotonic() - started)
        return answer

    def _next(self, key: str) -> tuple[int, bytes]:
        self._versions[key] += 1
        version = self._versions[key]
        filling = self._random.randbytes(self._random.choice((80, 200, 1500, 4000, 30_000)))
        return version, f"{key}|{version}|".encode() + filling

    async def _pause(self, mean_seconds: float) -> None:
        await asyncio.sleep(self._random.random() * 2 * mean_seconds)

    async def _write(
        self, kind: str, operations: list[Operation], *args: object, **kw: object
    ) -> Answer:
        """Send a write and settle its operations: done, or nobody knows."""
        while True:
            send = self.wire.send_presigned if kind == "presigned put" else self.wire.send
            answer = await self._timed(kind, send(*args, **kw))  # type: ignore[arg-type]
            if answer.status != SLOW_DOWN or not self.load.tolerate_slow_down:
                break
            self.tally.slowed_down += 1
            await asyncio.sleep(0.3)
        if answer.ok:
            for operation in operations:
                operation.ended = time.monotonic()
        else:
            self.tally.fault(
                Fault.FAILED, f"{kind} {args[-1]}: {answer.status} {answer.body[:200]!r}"
            )
        return answer

    async def put(self, key: str, kind: str = "put") -> None:
        """Write the next version of a key."""
        version, body = self._next(key)
        operation = self.history.begin(key, version, time.monotonic())
        operation.etag = hashlib.md5(body).hexdigest()  # noqa: S324 - S3's ETag
        headers = {"x-amz-meta-version": str(version)}
        await self._write(kind, [operation], "PUT", self.bucket, key, headers=headers, body=body)

    async def delete(self, key: str) -> None:
        """Delete a key."""
        operation = self.history.begin(key, ABSENT, time.monotonic())
        await self._write("delete", [operation], "DELETE", self.bucket, key)

    async def delete_many(self, keys: list[str]) -> None:
        """Delete several keys in one request."""
        operations = [self.history.begin(key, ABSENT, time.monotonic()) for key in keys]
        objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
        body = f"<Delete>{objects}</Delete>".encode()
        md5 = hashlib.md5(body).digest()  # noqa: S324 - S3 asks for it
        headers = {"content-md5": base64.b64encode(md5).decode()}
        await self._write(
            "delete many",
            operations,
            "POST",
            self.bucket,
            query={"delete": ""},
            headers=headers,
            body=body,
        )

    async def copy(self, source: str, key: str) -> None:
        """Copy one of the writer's own keys over another on the server."""
        last = self.history.operations[source][-1:]
        if not last or last[0].ended is None or last[0].version == ABSENT:
            return
        operation = self.history.begin(key, last[0].version, time.monotonic())
        headers = {"x-amz-copy-source": f"/{self.bucket}/{source}"}
        self._versions[key] = max(self._versions[key], last[0].version)
        await self._write("copy", [operation], "PUT", self.bucket, key, headers=headers)

    async def _writer(self, keys: list[str]) -> None:
        choices = ("put",) * 55 + ("presigned put",) * 5 + ("delete",) * 20 + ("many",) * 8
        while not self._stopping.is_set():
            key = self._random.choice(keys)
            match self._random.choice(choices + ("copy",) * 12):
                case "delete":
                    await self.delete(key)
                case "many":
                    await self.delete_many(self._random.sample(keys, 2))
                case "copy":
                    await self.copy(self._random.choice(keys), key)
                case kind:
                    await self.put(key, kind)
            if self._random.random() < 0.5:  # noqa: PLR2004 - every other time, read your own write
                await self.read(key, self._random.choice(READS[:-1]))
            await self._pause(self.load.pause_seconds)

    async def _reader(self, keys: list[str]) -> None:
        while not self._stopping.is_set():
            await self.read(self._random.choice(keys), self._random.choice(READS[:-1]))
            await self._pause(self.load.pause_seconds / 2)

    async def _lister(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            listed = await self.wire.list_all(self.bucket, self.prefix, 40)
            ended = time.monotonic()
            self.tally.requests["list"] += 1
            self.tally.seconds["list"].append(ended - started)
            if isinstance(listed, Answer):
                self.tally.fault(Fault.FAILED, f"list: {listed.status} {listed.body[:120]!r}")
            else:
                for key in self.history.judge_listing(listed, started, ended, self.prefix):
                    allowed = self.history.allowed(key, started, ended)
                    self.tally.fault(Fault.LISTING, f"{key}: {listed.get(key)} not {allowed}")
            await self._pause(self.load.pause_seconds * 3)

    async def _uploader(self, key: str) -> None:
        while not self._stopping.is_set():
            await self._upload_in_parts(key)
            await self.read(key, "get")
            await self._pause(self.load.pause_seconds * 3)

    async def _upload_in_parts(self, key: str) -> None:
        self._versions[key] += 1
        version = self._versions[key]
        headers = {"x-amz-meta-version": str(version)}
        begun = await self._timed(
            "begin upload",
            self.wire.send("POST", self.bucket, key, query={"uploads": ""}, headers=headers),
        )
        if not begun.ok:
            self.tally.fault(Fault.FAILED, f"begin upload {key}: {begun.status}")
            return
        upload = begun.text("UploadId")
        first = f"{key}|{version}|".encode().ljust(self.load.part_bytes, b"x")
        etags: list[str] = []
        for number, body in enumerate((first, self._random.randbytes(50_000)), 1):
            query = {"partNumber": str(number), "uploadId": upload}
            part = await self._timed(
                "upload part", self.wire.send("PUT", self.bucket, key, query=query, body=body)
            )
            if not part.ok:
                self.tally.fault(Fault.FAILED, f"part of {key}: {part.status} {part.body[:200]!r}")
                return
            etags.append(part.etag)
            await self._pause(0.5)
        operation = self.history.begin(key, version, time.monotonic())
        parts = "".join(
            f'<Part><PartNumber>{n}</PartNumber><ETag>"{etag}"</ETag></Part>'
            for n, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        done = await self._write(
            "complete upload",
            [operation],
            "POST",
            self.bucket,
            key,
            query={"uploadId": upload},
            body=body,
        )
        operation.etag = done.text("ETag") or None

    async def _slow_writer(self, key: str) -> None:
        """Uploads whose body takes its time."""
        while not self._stopping.is_set():
            version, body = self._next(key)
            operation = self.history.begin(key, version, time.monotonic())
            operation.etag = hashlib.md5(body).hexdigest()  # noqa: S324 - S3's ETag
            headers = {"x-amz-meta-version": str(version), "content-length": str(len(body))}
            seconds = self._random.choice((0.2, 0.6, 1.2))
            trickle = _trickle(body, seconds)
            # A slow PUT that gets SlowDown cannot be sent again from the same stream.
            answer = await self._timed(
                "slow put", self.wire.send("PUT", self.bucket, key, headers=headers, body=trickle)
            )
            if answer.ok:
                operation.ended = time.monotonic()
            elif answer.status == SLOW_DOWN and self.load.tolerate_slow_down:
                self.tally.slowed_down += 1
            else:
                self.tally.fault(
                    Fault.FAILED, f"slow put {key}: {answer.status} {answer.body[:200]!r}"
                )
            await self.read(key, "get")
            await self._pause(self.load.pause_seconds * 6)


async def _trickle(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    pieces = 6
    size = -(-len(body) // pieces)
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(seconds / pieces)
