"""Whether members take a connection, asked from here, where nginx stands too."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

LONGEST_SECONDS = 2.0
AT_ONCE = 32
UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Reach:
    """What became of one connection."""

    seconds: float | None
    """How long it took; None: there was none."""
    problem: str = ""


async def reach(addresses: Iterable[str]) -> dict[str, Reach]:
    """Connect to every address once and hang up; ``host:port`` or ``unix:/path``."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(address: str) -> Reach:
        async with limit:
            return await _connect(address)

    wanted = list(dict.fromkeys(addresses))
    found = await asyncio.gather(*(one(address) for address in wanted))
    return dict(zip(wanted, found, strict=True))


async def _connect(address: str) -> Reach:
    began = perf_counter()
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            _, writer = await _opened(address)
    except TimeoutError:
        return Reach(None, f"no answer in {LONGEST_SECONDS:.0f} s")
    except OSError as error:
        number = error.errno or 0  # a resolver's are negative
        return Reach(None, os.strerror(number) if number > 0 else error.strerror or str(error))
    took = perf_counter() - began
    writer.transport.abort()
    return Reach(took)


async def _opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith(UNIX):
        return await asyncio.open_unix_connection(address.removeprefix(UNIX))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
