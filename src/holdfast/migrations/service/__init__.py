"""What a person or another slice may ask of migrations, and how a process gets its parts."""

from holdfast.gateway.context import Gateway
from holdfast.kernel.contributors import contributors
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from holdfast.migrations.driver import Driver
from holdfast.migrations.service.figures import gauges
from holdfast.migrations.service.port import Port
from holdfast.migrations.service.starting import adopt
from holdfast.migrations.tables import active_migrations

__all__ = ["build_migrations", "start", "stop"]


def build_migrations(services: Services) -> None:
    """Register with the gateway, and make the part that drives migrations; nothing runs yet."""
    gateway = services.get(Gateway)
    gateway.ports.migrations = Port(services)
    contributors(services).gauges.append(gauges)
    services.add(Driver(services.settings.nginx_root, gateway.flags))


async def start(services: Services) -> None:
    """Give a job to unfinished migrations that have lost theirs.

    The job engine goes on with the others.
    """
    async with services.database.write(SYSTEM) as work:
        for row in await active_migrations(work.session):
            await adopt(work, row.id)


async def stop(services: Services) -> None:
    """End the thread that drove migrations; the job engine must have stopped."""
    await services.get(Driver).close()
