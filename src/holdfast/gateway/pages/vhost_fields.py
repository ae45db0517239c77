"""The fields of a vhost's form."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.choosing import pool_options
from holdfast.kernel.web.console.forms import Field

MODES = (
    ("", "everybody"),
    ("allow", "allow only these addresses"),
    ("deny", "everybody but these addresses"),
)
ZONES = (
    ("", "choose a place"),
    ("top", "top: first in the server block"),
    ("ssl", "ssl: after the certificate"),
    ("proxy", "proxy: before the routes"),
    ("end", "end: last in the server block"),
)
_PATH = {"autocomplete": "off", "spellcheck": "false"}


async def vhost_fields(session: AsyncSession, *, is_new: bool) -> Sequence[Field]:
    """All but the extra blocks."""
    return (*_server(is_new=is_new), *_tls(), await _default_pool(session), *_rest())


def block_fields(line: int, place: int) -> Sequence[Field]:
    """One extra block. ``line``: its number in the form; ``place``: as it is counted aloud."""
    return (
        Field(
            name=f"extra_blocks.{line}.zone",
            label=f"Extra block {place}: place",
            kind="select",
            options=ZONES,
            group="Extra blocks",
        ),
        Field(
            name=f"extra_blocks.{line}.content",
            label=f"Extra block {place}: text",
            kind="textarea",
            help="Raw nginx text. A block whose text is emptied goes away.",
            attributes={"rows": "6"},
            group="Extra blocks",
        ),
    )


def _server(*, is_new: bool) -> Sequence[Field]:
    return (
        Field(
            name="server_name",
            label="Server name",
            required=True,
            option="-" if is_new else "",
            help="The host name that clients use: s3.example.org, *.example.org or an IP address.",
            attributes={"maxlength": "253", **_PATH},
            group="Server",
        ),
        Field(
            name="listen_port",
            label="Port",
            kind="number",
            value=443,
            required=True,
            option="port",
            attributes={"min": "1", "max": "65535"},
            group="Server",
        ),
        Field(
            name="enabled", label="nginx serves it", kind="checkbox", value=True, group="Server"
        ),
        Field(
            name="description",
            label="Comment",
            kind="textarea",
            help="Whatever helps the next person.",
            attributes={"rows": "2", "maxlength": "1000"},
            group="Server",
        ),
    )  # fmt: skip


def _tls() -> Sequence[Field]:
    return (
        Field(name="ssl", label="Speaks TLS", kind="checkbox", value=True, group="TLS"),
        Field(
            name="ssl_cert_path",
            label="Certificate file",
            option="ssl-cert",
            help="A path on this machine, with the chain. Both files are needed for TLS.",
            attributes={"placeholder": "/etc/ssl/s3.example.org/fullchain.pem", **_PATH},
            group="TLS",
        ),
        Field(
            name="ssl_key_path",
            label="Key file",
            option="ssl-key",
            attributes={"placeholder": "/etc/ssl/s3.example.org/privkey.pem", **_PATH},
            group="TLS",
        ),
    )


async def _default_pool(session: AsyncSession) -> Field:
    pools = await pool_options(session, none="none: what has no route answers 404")
    return Field(
        name="default_pool_id",
        label="Default pool",
        kind="select" if pools else "number",
        options=pools,
        option="default-pool",
        help="Gets every request that no route takes.",
        group="Requests",
    )


def _rest() -> Sequence[Field]:
    return (
        Field(
            name="ip_rule_mode",
            label="Who may come",
            kind="select",
            options=MODES,
            group="Addresses",
        ),
        Field(
            name="ip_rule_ips",
            label="Addresses and networks",
            kind="textarea",
            option="ip",
            help="One a line: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32.",
            attributes={"rows": "3", "data-lines": ""},
            group="Addresses",
        ),
        Field(
            name="extra_directives",
            label="Extra directives",
            kind="textarea",
            help="Raw nginx lines for the server block. They replace Holdfast's line of that name.",
            attributes={"rows": "4", "placeholder": "client_max_body_size 5g;"},
            group="Own nginx lines",
        ),
    )
