"""The data directory and database of this machine, whether a server runs or not."""

import asyncio
import contextlib
import importlib
import os
import pwd
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from holdfast.kernel.config import LoadedSettings
    from holdfast.kernel.services import Services
    from holdfast.kernel.work import Actor

Result = TypeVar("Result")


def with_services(act: "Callable[[Services], Awaitable[Result]]") -> Result:
    """Run ``act`` with this machine's services; the schema is brought up to date first."""

    async def run() -> Result:
        async with local_services() as services:
            return await act(services)

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def local_services(loaded: "LoadedSettings | None" = None) -> "AsyncIterator[Services]":
    """The kernel's services of this machine's settings, without slices, jobs or timers."""
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.logging import configure  # noqa: PLC0415 - slow
    from holdfast.kernel.services import build_services  # noqa: PLC0415 - slow

    importlib.import_module("holdfast.schema")  # above this package; every table must be known
    configure("warning")
    services = build_services(loaded or load_settings())
    try:
        await services.database.upgrade()
        yield services
    finally:
        await services.database.close()


def local_actor() -> "Actor":
    """Who runs this command, for the audit; whoever may write the database is an admin of it."""
    from holdfast.kernel.work import Actor, Role  # noqa: PLC0415 - slow

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return Actor(f"cli/{name}", Role.ADMIN)
