"""The limit on bytes a second is kept also by what is only read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.migrations.contents import compare_contents
from holdfast.migrations.copier import ObjectCopier
from holdfast.migrations.copier_bandwidth import TokenBucket
from holdfast.migrations.model import Options
from tests.servers.s3 import nanio_server, two_servers

pytestmark = pytest.mark.real

BUCKET = "moving"


class Counted(TokenBucket):
    """Lets all through, and remembers how much it was."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.taken_bytes = 0

    async def take(self, size_bytes: int) -> None:
        self.taken_bytes += size_bytes


async def test_what_is_only_read_counts_for_the_bandwidth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Counted()
    servers = two_servers(tmp_path, nanio_server, nanio_server)
    async with servers as (one, other), one.client() as source, other.client() as destination:
        for client in (source, destination):
            await client.create_bucket(BUCKET)
        copier = ObjectCopier(source, BUCKET, destination, BUCKET, bandwidth=limit)
        put = destination.put

        async def proving_nothing(*given: Any, **named: Any) -> str:
            await put(*given, **named)
            return "opaque"

        await source.put(BUCKET, "k", b"x" * 1000)
        monkeypatch.setattr(destination, "put", proving_nothing)
        await copier.sync_key("k")
        assert limit.taken_bytes == 2 * 1000  # sent, and read back

        async def note(_: str) -> None: ...

        parts: Any = SimpleNamespace(
            move=SimpleNamespace(bucket=BUCKET, options=Options()),
            source=source,
            destination=destination,
            copier=copier,
            report=SimpleNamespace(note=note),
        )
        await compare_contents(parts)
        assert limit.taken_bytes == 4 * 1000  # and read on both sides
