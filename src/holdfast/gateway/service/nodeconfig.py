"""Files for a server of a pool: nanio, nginx before it, or both. The keys are used and not kept."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.model import NodeType
from holdfast.gateway.service.checks import check_key
from holdfast.gateway.service.members import get_member, list_members
from holdfast.gateway.tables import MemberRow, NodeConfigRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import validate
from holdfast.kernel.work import Work

SHOWN_CONFIGS = 5
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]*", re.ASCII)
PLAIN_PORT = 80
NANIO_PORT = 9000
OPTIONS_PATH = "/etc/nanio/options.toml"
UNIT_PATH = "/etc/systemd/system/nanio.service"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWish:
    """What a node's set-up is made from."""

    node_type: NodeType
    data_dir: str = "/data"
    nanio_port: int | None = None
    """None: the usual one, or the next when nginx listens on that."""
    nanio_host: str = "0.0.0.0"  # noqa: S104 - of a server elsewhere, which nginx must reach
    nanio_region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file to put on the node."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The files of a node, and what to do with them."""

    node_type: NodeType
    member_address: str
    files: Sequence[NodeFile]
    instructions: str


async def generate(work: Work, pool_id: int, member_id: int, wish: NodeWish) -> NodeConfig:
    """Make the set-up of a member's machine and note that it was made, without the keys.

    Raises ``NotFound`` and ``Invalid``.
    """
    member = await get_member(work.session, pool_id, member_id)
    wish = replace(wish, nanio_port=_free_port(member.address, wish))
    config = node_config(member.address, wish)
    kept = {
        "data_dir": wish.data_dir,
        "nanio_port": wish.nanio_port,
        "nanio_host": wish.nanio_host,
        "nanio_region": wish.nanio_region,
    }
    row = NodeConfigRow(
        member_id=member_id,
        node_type=wish.node_type,
        config_json=json.dumps(kept),
        generated_at=now(),
    )
    work.session.add(row)
    work.audit("generate_node_config", "pool_member", member_id, after=kept)
    return config


async def summary(
    session: AsyncSession, pool_id: int
) -> list[tuple[MemberRow, list[NodeConfigRow]]]:
    """Each member of a pool with its newest set-ups. Raises ``NotFound``."""
    members = await list_members(session, pool_id)
    recent = await queries.recent_node_configs(session, pool_id, each=SHOWN_CONFIGS)
    return [(m, [row for row in recent if row.member_id == m.id]) for m in members]


def node_config(member_address: str, wish: NodeWish) -> NodeConfig:
    """The files for this wish. Raises ``Invalid``: no field can leave its place in a file."""
    validate.file_path(wish.data_dir, "data_dir")
    validate.region(wish.nanio_region, "nanio_region")
    host = f"[{wish.nanio_host}]" if ":" in wish.nanio_host else wish.nanio_host
    validate.server_address(f"{host}:{wish.nanio_port}", "nanio_host")
    check_key("access_key", wish.access_key)
    check_key("secret_key", wish.secret_key)
    if not _PLAIN_PATH.fullmatch(wish.data_dir):
        raise Invalid(
            f"data_dir: {wish.data_dir!r} cannot stand in every file that is made",
            hint="use letters, digits and . _ - / only",
        )
    makers = _MAKERS[wish.node_type]
    return NodeConfig(
        wish.node_type,
        member_address,
        [make(member_address, wish) for make in makers],
        _INSTRUCTIONS[wish.node_type].format(address=member_address, data_dir=wish.data_dir),
    )


def _free_port(address: str, wish: NodeWish) -> int:
    """Where nanio listens: nginx has the member's port when it stands before it."""
    taken = _port_of(address) if wish.node_type == "nginx-nanio" else 0
    if wish.nanio_port is None:
        return NANIO_PORT if taken != NANIO_PORT else NANIO_PORT + 1
    if wish.nanio_port == taken:
        raise Invalid(
            f"nanio_port: nginx listens on port {taken} of this machine, where clients find "
            f"{address}",
            hint="leave nanio_port out, or choose another port for nanio",
        )
    return wish.nanio_port


def _options(_: str, wish: NodeWish) -> NodeFile:
    lines = [
        "[server]",
        f"data_dir = {_toml(wish.data_dir)}",
        f"host = {_toml(wish.nanio_host)}",
        f"port = {wish.nanio_port}",
        f"region = {_toml(wish.nanio_region)}",
    ]
    if wish.access_key:
        lines += [
            "",
            "[[users]]",
            f"access_key = {_toml(wish.access_key)}",
            f"secret_key = {_toml(wish.secret_key)}",
        ]
    return NodeFile(OPTIONS_PATH, "\n".join(lines) + "\n")


def _unit(_: str, wish: NodeWish) -> NodeFile:
    content = f"""[Unit]
Description=nanio S3 server
After=network-online.target
Wants=network-online.target

[Service]
User=nanio
Group=nanio
ExecStart=/usr/local/bin/nanio serve --options {OPTIONS_PATH}
Restart=on-failure
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
ReadWritePaths={wish.data_dir}
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
    return NodeFile(UNIT_PATH, content)


def _serve(address: str, wish: NodeWish) -> NodeFile:
    content = f"""server {{
    listen {_port_of(address)};
    server_name _;
    root {wish.data_dir};
    autoindex off;
    sendfile on;
    tcp_nopush on;
    location / {{
        limit_except GET HEAD {{ deny all; }}
    }}
}}
"""
    return NodeFile("/etc/nginx/conf.d/nanio-serve.conf", content)


def _proxy(address: str, wish: NodeWish) -> NodeFile:
    content = f"""upstream nanio_local {{
    server 127.0.0.1:{wish.nanio_port};
    keepalive 32;
    keepalive_timeout 2s;
}}

server {{
    listen {_port_of(address)};
    server_name _;
    client_max_body_size 0;
    location / {{
        proxy_pass http://nanio_local;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_request_buffering off;
        proxy_buffering off;
    }}
}}
"""
    return NodeFile("/etc/nginx/conf.d/nanio-proxy.conf", content)


_MAKERS: dict[NodeType, tuple[Callable[[str, NodeWish], NodeFile], ...]] = {
    "nanio-only": (_options, _unit),
    "nginx-only": (_serve,),
    "nginx-nanio": (_options, _unit, _proxy),
}
_NANIO_STEPS = (
    "1. pip install nanio, and make the user nanio and the folder {data_dir} that it owns.\n"
    "2. Put the files in place; options.toml belongs to nanio with mode 0600.\n"
    "3. systemctl daemon-reload && systemctl enable --now nanio\n"
)
_INSTRUCTIONS: dict[NodeType, str] = {
    "nanio-only": _NANIO_STEPS + "4. curl http://{address}/ answers.\n",
    "nginx-only": (
        "1. Install nginx and put the file in place.\n"
        "2. nginx -t && systemctl reload nginx\n"
        "3. curl http://{address}/ answers.\n"
    ),
    "nginx-nanio": _NANIO_STEPS + "4. Install nginx, then: nginx -t && systemctl reload nginx\n"
    "5. curl http://{address}/ answers.\n",
}


def _port_of(address: str) -> int:
    _, _, port = address.rpartition(":")
    return int(port) if port.isdigit() else PLAIN_PORT


def _toml(text: str) -> str:
    """A basic string of TOML, which JSON's strings are for printable ASCII."""
    return json.dumps(text)
