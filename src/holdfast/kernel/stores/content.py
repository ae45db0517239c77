"""Content on its way: counted and hashed while it passes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable

from holdfast.kernel.errors import Invalid
from holdfast.kernel.stores.model import DamagedOnTheWay, Entry, HashKind


async def nothing() -> AsyncIterator[bytes]:
    """Empty content."""
    for chunk in tuple[bytes]():
        yield chunk


class Measured:
    """Passes content on, and knows afterwards how long it was and what its hashes are.

    Content of another length than announced ends in ``Invalid``.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        kinds: Iterable[HashKind] = (),
        *,
        announced_bytes: int | None = None,
    ) -> None:
        self._content = content
        self._announced_bytes = announced_bytes
        self.broke: BaseException | None = None
        """What its source raised."""
        self._digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
        self.size_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._content:
                self.size_bytes += len(chunk)
                for digest in self._digests.values():
                    digest.update(chunk)
                yield chunk
            self._compare_size()
        except (GeneratorExit, asyncio.CancelledError):
            raise  # the one who reads went away, not the source
        except BaseException as error:
            self.broke = error
            raise

    @property
    def hashes(self) -> dict[HashKind, str]:
        """Of what has passed so far."""
        return {kind: digest.hexdigest() for kind, digest in self._digests.items()}

    def _compare_size(self) -> None:
        announced = self._announced_bytes
        if announced is not None and announced != self.size_bytes:
            raise Invalid(f"{announced} bytes were announced, {self.size_bytes} came")

    def compare(self, stored: Entry, store: str) -> None:
        """Raise `DamagedOnTheWay` when a store holds something else, as far as it can tell."""
        if stored.size_bytes != self.size_bytes:
            raise DamagedOnTheWay(
                f"{store} holds {stored.size_bytes} bytes of {stored.path!r}, not {self.size_bytes}"
            )
        ours = self.hashes
        for kind, digest in stored.hashes.items():
            if kind in ours and ours[kind] != digest:
                raise DamagedOnTheWay(
                    f"{store} holds another {kind} of {stored.path!r} than was sent"
                )
