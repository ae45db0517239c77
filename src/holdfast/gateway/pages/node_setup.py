"""Files that set up a member's machine: ``/web/pools/{pool_id}/members/{member_id}/setup``."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response

from holdfast.gateway import page_queries
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import NodeConfigIn
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import submit
from holdfast.gateway.service import nodeconfig
from holdfast.gateway.service.members import get_member
from holdfast.gateway.service.nodeconfig import NodeConfig, NodeWish
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.tables import NodeConfigRow
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import OPERATOR, ReadDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(prefix="/web/pools/{pool_id}/members", include_in_schema=False)
HISTORY = 10
TYPES = (
    ("nanio-only", "nanio: an S3 server"),
    ("nginx-only", "nginx: serves a folder over HTTP, read only"),
    ("nginx-nanio", "both: nginx before nanio"),
)
KEPT = ("data_dir", "nanio_port", "nanio_host", "nanio_region")


@router.api_route("/{member_id}/setup", methods=["GET", "POST"], dependencies=[OPERATOR])
async def node_setup(
    request: Request, pool_id: PathId, member_id: PathId, session: ReadDep, again: str = ""
) -> Response:
    """A form, the files made from it, and what was made before. ``again``: begin as that one."""
    pool = await get_pool(session, pool_id)
    member = await get_member(session, pool_id, member_id)
    history = await page_queries.node_configs_of(session, member_id, limit=HISTORY)
    form = Form(_fields(), _as_before(history, again))

    async def act(work: Work, _: Gateway, body: NodeConfigIn) -> NodeConfig:
        return await nodeconfig.generate(work, pool_id, member_id, _wish(body))

    made = None
    if request.method == "POST" and (saved := await submit(form, request, NodeConfigIn, act)):
        made = saved.value
    form.values["secret_key"] = ""
    return await page(
        request,
        "gateway/node_setup.html.j2",
        status=form.status,
        form=form,
        pool=pool,
        member=member,
        made=made,
        history=[(row, json.loads(row.config_json)) for row in history],
        names=dict(TYPES),
    )


def _wish(body: NodeConfigIn) -> NodeWish:
    return NodeWish(
        **body.model_dump(exclude={"access_key", "secret_key"}),
        access_key=body.access_key.get_secret_value(),
        secret_key=body.secret_key.get_secret_value(),
    )


def _as_before(history: Sequence[NodeConfigRow], again: str) -> dict[str, Any]:
    row = next((row for row in history if str(row.id) == again), None)
    if row is None:
        return {}
    known = json.loads(row.config_json)
    return {"node_type": row.node_type} | {n: known[n] for n in KEPT if n in known}


def _fields() -> Sequence[Field]:
    return (
        Field(
            name="node_type",
            label="What runs there",
            kind="select",
            options=TYPES,
            value="nanio-only",
            required=True,
        ),
        Field(
            name="data_dir",
            label="Data folder",
            value="/data",
            required=True,
            help="Where the objects lie on that machine.",
            attributes={"maxlength": "1024", "spellcheck": "false"},
        ),
        Field(
            name="nanio_port",
            label="Port of nanio",
            kind="number",
            value=9000,
            required=True,
            attributes={"min": "1", "max": "65535"},
        ),
        Field(
            name="nanio_host",
            label="Address that nanio listens on",
            value="0.0.0.0",  # noqa: S104 - of a server elsewhere
            required=True,
            attributes={"maxlength": "253", "spellcheck": "false"},
        ),
        Field(
            name="nanio_region",
            label="Region",
            value="us-east-1",
            required=True,
            attributes={"maxlength": "64"},
        ),
        Field(
            name="access_key",
            label="Access key",
            help="Put into the files, not kept here.",
            attributes={"autocomplete": "off", "maxlength": "1024"},
        ),
        Field(
            name="secret_key",
            label="Secret key",
            kind="password",
            help="Put into the files, not kept here.",
            attributes={"autocomplete": "new-password", "maxlength": "1024"},
        ),
    )
