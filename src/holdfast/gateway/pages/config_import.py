"""Takes over an installation of nanio-orchestrator: ``/web/config/import``."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import Request, Response
from pydantic import BaseModel, SecretStr
from pydantic import Field as Rule

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import Saved
from holdfast.gateway.service.importing import Imported, import_older
from holdfast.gateway.service.rebuild import has_data
from holdfast.kernel.errors import Invalid
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(prefix="/web/config/import", include_in_schema=False)


class ImportIn(BaseModel):
    """Where the older tool's installation lies on this machine."""

    nginx_dir: str = Rule(min_length=1, max_length=4096, pattern="^/")
    db: str = Rule("", max_length=4096, pattern="^(/.*)?$")
    secret: SecretStr = Rule(SecretStr(""), max_length=1024)
    seen: bool = False
    """Whether the person was shown what would be taken over: until then nothing is."""


@router.api_route("", methods=["GET", "POST"], dependencies=[ADMIN])
async def import_page(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """A form; then what would be taken over; then it is."""
    is_filled = await has_data(session)
    await session.close()
    gateway = services.get(Gateway)
    form = Form(_fields())

    async def act(work: Work, body: ImportIn) -> Saved[Imported]:
        work.dry_run = not body.seen
        await queries.lock_gateway(work.session)
        return Saved(await _import(work, gateway, body), work)

    saved = None
    if request.method == "POST" and (saved := await form.submit(request, ImportIn, act)):
        if not saved.work.dry_run:
            done = saved.value
            told = f"{done.pools} pools, {done.vhosts} vhosts and {done.routes} routes are here."
            warning = "; ".join([saved.warning] * bool(saved.warning) + done.warnings)
            return see_other("/web/config", told=told, warning=warning)
        form.values["seen"] = "true"
    form.values["secret"] = ""
    return await page(
        request,
        "gateway/config_import.html.j2",
        status=form.status,
        form=form,
        found=saved.value if saved else None,
        is_filled=is_filled,
    )


async def _import(work: Work, gateway: Gateway, body: ImportIn) -> Imported:
    try:
        return await import_older(
            work,
            gateway,
            nginx_dir=Path(body.nginx_dir),
            database=Path(body.db) if body.db else None,
            secret=body.secret.get_secret_value(),
        )
    except OSError as error:
        raise Invalid(
            f"{error.filename} cannot be read: {error.strerror}",
            hint="let the user that runs Holdfast read it, or import by the command line as root",
        ) from None


def _fields() -> Sequence[Field]:
    spell = {"spellcheck": "false", "autocomplete": "off"}
    return (
        Field(
            name="nginx_dir",
            label="Its nginx folder",
            required=True,
            option="nginx-dir",
            help="NGINX_CONFIG_DIR of the older tool, on this machine: it has pools/ and vhosts/.",
            attributes=spell | {"placeholder": "/etc/nginx/nanio-orchestrator"},
        ),
        Field(
            name="db",
            label="Its database",
            help="DB_PATH of the older tool: descriptions, disabled members, ids, keys. "
            "The folder migrations/ lies beside it.",
            attributes=spell | {"placeholder": "/var/lib/nanio-orchestrator/orchestrator.db"},
        ),
        Field(
            name="secret",
            label="Its secret",
            kind="password",
            help="SECRET of the older tool: the pools' keys are sealed with it. Without it they "
            "are left out. It is not kept, and has to be typed again after the look.",
            option="!",
            attributes=spell | {"autocomplete": "new-password"},
        ),
        Field(name="seen", label="", kind="hidden", attributes={"data-local": ""}),
    )
