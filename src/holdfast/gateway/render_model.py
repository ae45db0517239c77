"""What the gateway's files are rendered from and parsed back to; references are names, not ids."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

PoolType = Literal["nanio", "http"]
Balancing = Literal["round_robin", "least_conn", "ip_hash"]
Role = Literal["active", "primary", "replica"]
Zone = Literal["top", "ssl", "proxy", "end"]
Http2 = Literal["listen", "directive", "none"]

_EXACT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.ASCII)
BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", re.ASCII)
ZONES: tuple[Zone, ...] = ("top", "ssl", "proxy", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSpec:
    """One server of a pool."""

    address: str
    role: Role = "active"
    weight: int = 1
    max_fails: int = 3
    fail_timeout_s: int = 30
    enabled: bool = True
    description: str | None = None
    id: int | None = None
    """Row id, shown in the sidecar for readers of the older format; a reference nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """Servers that nginx balances over, and what the sidecar keeps of them."""

    name: str
    type: PoolType = "nanio"
    description: str | None = None
    lb_method: Balancing = "least_conn"
    keepalive: int = 32
    """Idle connections that each nginx worker keeps to the pool; 0: none."""
    members: tuple[MemberSpec, ...] = ()
    source_pool: str | None = None
    """The nanio pool behind an ``http`` pool."""
    source_pool_id: int | None = None
    """Its row id, in the sidecar for readers of the older format; a reference nowhere."""
    credentials: Mapping[str, str | None] | None = None
    """Sealed: ``access_key_enc``, ``secret_key_enc``, ``endpoint_url``, ``region``."""
    id: int | None = None
    updated_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """A path prefix of a vhost that goes to a pool."""

    path_prefix: str
    pool: str
    key_prefix: str | None = None
    extra_directives: str = ""
    enabled: bool = True
    description: str | None = None
    id: int | None = None

    @property
    def bucket(self) -> str | None:
        """The bucket that the prefix names; None when it is no bucket name or is rewritten."""
        name = self.path_prefix.strip("/")
        return name if BUCKET_NAME.fullmatch(name) and not self.key_prefix else None

    @property
    def is_plain_bucket(self) -> bool:
        """True when the route exists only as a routing flag: no location, no reload."""
        return self.bucket is not None and self.enabled and not self.extra_directives.strip()

    @property
    def has_flag(self) -> bool:
        """True for every enabled bucket route, with directives or without: it can be migrated."""
        return self.bucket is not None and self.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """Raw nginx text in one zone of a vhost."""

    zone: Zone
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VhostSpec:
    """One server block with its routes."""

    server_name: str
    listen_port: int = 443
    ssl: bool = True
    ssl_cert_path: str | None = None
    ssl_key_path: str | None = None
    type: PoolType = "nanio"
    """The type of all its pools: S3 request classes are told apart for ``nanio`` only."""
    extra_directives: str = ""
    extra_blocks: tuple[BlockSpec, ...] = ()
    enabled: bool = True
    description: str | None = None
    default_pool: str | None = None
    default_pool_id: int | None = None
    """A hint for those who read the older format: we go by the name."""
    ip_rule_mode: Literal["allow", "deny"] | None = None
    ip_rules: tuple[str, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    """All but ``/``, which is ``default_pool``. Plain bucket routes may be left out."""
    plain_descriptions: Mapping[str, str] = field(default_factory=dict)
    """By prefix, of plain bucket routes: these have no other place on disk."""
    id: int | None = None
    updated_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVhost:
    """What ``http.conf`` must know of an enabled vhost."""

    server_name: str
    listen_port: int
    default_pool: str | None
    has_nothing_own: bool
    """No TLS, IP rule, raw text or route that stands in its file, and an S3 pool as its default."""

    @property
    def is_plain(self) -> bool:
        """True when only name, port and default pool tell it from others.

        Its name must be what nginx makes of a ``Host``: exact, in lower case.
        """
        exact = _EXACT_NAME.fullmatch(self.server_name) is not None
        return self.has_nothing_own and self.default_pool is not None and exact


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """What the files depend on beside the rows: the place and the installed nginx."""

    nginx_dir: Path
    control_port: int
    http2: Http2 = "listen"
    gate_timeout_seconds: int = 7
    """How long a write may wait at the gate until it is answered with SlowDown.

    Above the longest hold: the driver ends that by itself, unless it is frozen.
    """
    access_logs: tuple[str, ...] = ()
    """Arguments of the operator's ``access_log`` lines, repeated where ours would replace them."""
    counts_requests: bool = False
    """Whether the installed nginx can tell its requests and connections (``stub_status``)."""
    hash_sizes: bool = True
    """Whether to raise nginx's server name table; False when the operator's file sets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """Everything that one generation holds, as read back from disk."""

    pools: tuple[PoolSpec, ...] = ()
    vhosts: tuple[VhostSpec, ...] = ()
    warnings: tuple[str, ...] = field(default=())


DEFAULT_POOL = "$hf_default_pool"
"""nginx's variable: the default pool of the vhost that a request came by."""


def pool_alias(name: str) -> str:
    """The name of a pool in a flag, where dots separate: itself, or ``p-`` and a hash."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
        return name
    return "p-" + sha256(name.encode()).hexdigest()[:16]
