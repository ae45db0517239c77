"""Two nanio pools to try things on by hand: ``python -m tests.servers [directory]``."""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.servers.s3 import nanio_server, two_servers


async def serve(directory: Path) -> None:
    async with two_servers(directory, nanio_server, nanio_server) as (first, second):
        for name, server in (("source", first), ("destination", second)):
            line = f"{name:12} {server.endpoint}  {server.access_key} {server.secret_key}\n"
            sys.stdout.write(line)
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as made, contextlib.suppress(KeyboardInterrupt):
        directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        asyncio.run(serve(directory))


if __name__ == "__main__":
    main()
