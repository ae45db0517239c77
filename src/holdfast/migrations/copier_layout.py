"""Part layouts: in which pieces an object was uploaded, so that its copy gets the same ETag.

The ETag of an object uploaded in parts is the MD5 of the parts' MD5s, with the number of parts
behind it. The sizes are not in it: they are asked from the server where it tells them, and
otherwise guessed and proved by computing the ETag.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

KIB = 1024
MIB = 1024 * KIB
MAX_GUESSES = 12
"""Each costs one MD5 over the object when there is more than one."""

_USUAL_MIB = (
    8,
    5,
    16,
    64,
    10,
    15,
    32,
    50,
    100,
    128,
    25,
    6,
    12,
    20,
    24,
    48,
    96,
    250,
    256,
    500,
    512,
    1024,
)
"""aws and boto 8, rclone 5, mc 16 and 64, s3cmd 15, and what people set."""
_MULTIPART = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,4})")
_MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(etag: str) -> bool:
    """Whether an ETag looks like the MD5 of a content."""
    return _MD5.fullmatch(etag) is not None


def part_count(etag: str) -> int:
    """How many parts an object was uploaded in, read from its ETag; 0 for one uploaded whole."""
    found = _MULTIPART.fullmatch(etag)
    return int(found[1]) if found else 0


def is_usual(part_bytes: int) -> bool:
    """Whether clients are known to cut in this size."""
    return part_bytes % MIB == 0 and part_bytes // MIB in _USUAL_MIB


def md5_of(content: bytes) -> bytes:
    """The MD5 that S3 speaks of; no secret hangs on it."""
    return hashlib.md5(content, usedforsecurity=False).digest()


def multipart_etag(part_md5s: Sequence[bytes]) -> str:
    """The ETag of an object made of parts with these MD5s."""
    return f"{md5_of(b''.join(part_md5s)).hex()}-{len(part_md5s)}"


def uniform(size_bytes: int, part_bytes: int) -> list[int]:
    """Sizes of equal parts with a shorter last one."""
    whole, rest = divmod(size_bytes, part_bytes)
    return [part_bytes] * whole + ([rest] if rest or not whole else [])


def part_size_guesses(size_bytes: int, parts: int, *, first: int = 0) -> list[int]:
    """Part sizes that cut the object into ``parts`` parts, the likeliest first.

    ``first``: the size that was right for the last object; one client usually wrote the whole
    bucket.
    """
    if parts == 1:
        return [max(size_bytes, 1)]
    low = -(-size_bytes // parts)
    high = (size_bytes - 1) // (parts - 1)
    round_mib = (
        size * MIB for size in range(-(-low // MIB), min(high // MIB, low // MIB + 40) + 1)
    )
    odd = (
        64 * KIB,
        256 * KIB,
        512 * KIB,
        5_000_000,
        8_000_000,
        10_000_000,
        16_000_000,
        50_000_000,
        100_000_000,
    )
    likely = [first, *(size * MIB for size in _USUAL_MIB), *round_mib, low, *odd]
    fitting = dict.fromkeys(size for size in likely if low <= size <= high)
    return list(fitting)[:MAX_GUESSES]


@dataclass(slots=True)
class _Guess:
    sizes: list[int]
    done: list[bytes] = field(default_factory=list)
    left: int = 0
    md5: "hashlib._Hash" = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def __post_init__(self) -> None:
        self.left = self.sizes[0]

    def feed(self, chunk: memoryview) -> None:
        while len(chunk) >= self.left and len(self.done) < len(self.sizes):
            self.md5.update(chunk[: self.left])
            chunk = chunk[self.left :]
            self.done.append(self.md5.digest())
            self.md5 = hashlib.md5(usedforsecurity=False)
            following = len(self.done)
            self.left = self.sizes[following] if following < len(self.sizes) else 0
        if chunk and self.left:
            self.md5.update(chunk)
            self.left -= len(chunk)


class LayoutProbe:
    """Finds out which of some layouts an object has, while its content goes by."""

    def __init__(self, etag: str, layouts: Sequence[list[int]]) -> None:
        self._etag = etag
        self._guesses = [_Guess(sizes) for sizes in layouts]

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the object."""
        view = memoryview(chunk)
        for guess in self._guesses:
            guess.feed(view)

    def found(self) -> list[int] | None:
        """The sizes of the layout that has this ETag, once everything was fed."""
        for guess in self._guesses:
            if len(guess.done) == len(guess.sizes) and multipart_etag(guess.done) == self._etag:
                return guess.sizes
        return None
