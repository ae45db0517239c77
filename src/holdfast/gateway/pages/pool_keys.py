"""The S3 keys of a pool: ``/web/pools/{pool_id}/keys``. They are stored sealed and never shown."""

from collections.abc import Sequence

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import CredentialsIn
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import gateway_work, submit
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import credentials
from holdfast.gateway.service.credentials import ShownCredentials
from holdfast.gateway.service.pools import get_pool
from holdfast.kernel.secrets import CannotUnseal
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(prefix="/web/pools/{pool_id}/keys", include_in_schema=False)
SECRET = {"autocomplete": "off", "spellcheck": "false", "maxlength": "1024"}


@router.api_route("", methods=["GET", "POST"], dependencies=[OPERATOR])
async def set_keys(
    request: Request, pool_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """A form for the keys that Holdfast reaches a pool with."""
    pool = await get_pool(session, pool_id)
    shown, unreadable = await keys_of(session, services.get(Gateway), pool_id)
    values = {"endpoint_url": shown.endpoint_url or "", "region": shown.region} if shown else {}
    form = Form(_fields(), values)

    async def act(work: Work, gateway: Gateway, body: CredentialsIn) -> None:
        await credentials.set_credentials(work, gateway, pool_id, body.draft())

    if request.method == "POST" and (saved := await submit(form, request, CredentialsIn, act)):
        told = f"Pool {pool.name} has keys of its own."
        return see_other(f"/web/pools/{pool_id}", told=told, warning=saved.warning)
    form.values["secret_key"] = ""
    return await page(
        request,
        "gateway/pool_keys.html.j2",
        status=form.status,
        form=form,
        pool=pool,
        shown=shown,
        unreadable=unreadable,
    )


@router.post("/remove")
async def remove_keys(request: Request, pool_id: PathId) -> Response:
    """Forget the pool's own keys."""
    async with gateway_work(request) as (work, gateway):
        await credentials.remove_credentials(work, gateway, pool_id)
    told = "The keys are forgotten; the global ones are used."
    return see_other(f"/web/pools/{pool_id}", told=told, warning=warning_of(work))


async def keys_of(
    session: AsyncSession, gateway: Gateway, pool_id: int
) -> tuple[ShownCredentials | None, CannotUnseal | None]:
    """The keys of a pool as they may be shown, or why they cannot be read: new ones mend it."""
    try:
        return await credentials.show_credentials(session, gateway, pool_id), None
    except CannotUnseal as error:
        return None, error


def _fields() -> Sequence[Field]:
    return (
        Field(name="access_key", label="Access key", required=True, attributes=SECRET),
        Field(
            name="secret_key",
            label="Secret key",
            kind="password",
            required=True,
            help="Stored sealed, never shown again.",
            attributes=SECRET | {"autocomplete": "new-password"},
        ),
        Field(
            name="region",
            label="Region",
            help="That requests are signed for.",
            attributes={"maxlength": "64"},
        ),
        Field(
            name="endpoint_url",
            label="Endpoint",
            help="Where the keys are valid, if not at the first enabled member: "
            "http://10.0.0.5:9000",
            attributes={"maxlength": "1024", "spellcheck": "false"},
        ),
    )
