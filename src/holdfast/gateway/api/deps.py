"""What the gateway's routes ask for, and the header in which they tell what is not live."""

from typing import Annotated, cast

from fastapi import Depends, Path, Request
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import warning_of
from holdfast.kernel.nginx.validate import BUCKET
from holdfast.kernel.web.deps import ServicesDep, WorkDep
from holdfast.kernel.web.router import LateRoute
from holdfast.kernel.work import Work

WARNING_HEADER = "X-Holdfast-Warning"
_WORK = "holdfast_gateway_work"


def gateway_of(services: ServicesDep) -> Gateway:
    """The gateway of this process."""
    return services.get(Gateway)


async def open_gateway_work(request: Request, work: WorkDep) -> Work:
    """A unit of work that is the only writer of the gateway."""
    request.scope[_WORK] = work
    await queries.lock_gateway(work.session)
    return work


class GatewayRoute(LateRoute):
    """Adds the warning of a change that is not live; it is known when all is committed."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the header when there is something to tell."""

        async def send_with_warning(message: Message) -> None:
            work = cast("Work | None", scope.get(_WORK))
            warning = warning_of(work) if work else ""
            if message["type"] == "http.response.start" and warning:
                MutableHeaders(scope=message)[WARNING_HEADER] = warning
            await send(message)

        await super().handle(scope, receive, send_with_warning)


GatewayDep = Annotated[Gateway, Depends(gateway_of)]
GatewayWork = Annotated[Work, Depends(open_gateway_work)]
BucketPath = Annotated[str, Path(pattern=f"^{BUCKET}$", description="a bucket's name")]
PathId = Annotated[int, Path(ge=-(2**31), le=2**31 - 1)]
