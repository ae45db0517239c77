"""What nginx has to do now, on the overview."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.traffic import TrafficMeter
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import count
from holdfast.kernel.web.console.registry import Figure, console_parts


def contribute(services: Services) -> None:
    """One figure."""
    services.add(TrafficMeter())
    console_parts(services).figures.insert(0, _figures)


async def _figures(services: Services, _: AsyncSession) -> Sequence[Figure]:
    found = await services.get(TrafficMeter).look(services.get(Gateway))
    if found is None:
        return ()
    rate = found.requests_per_second
    value = "measuring" if rate is None else f"{count(rate)}/s"
    detail = f"{count(found.connections)} connections"
    return [Figure(title="Requests through nginx", value=value, detail=detail)]
