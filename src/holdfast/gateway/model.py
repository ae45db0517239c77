"""What a person may ask of the gateway, and the rules on it that need nothing but values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.gateway.render_model import BUCKET_NAME, Balancing, BlockSpec, PoolType, Role
from holdfast.kernel.errors import BadRequest

ROOT_PREFIX = "/"
"""The prefix of the route that stands for a vhost's default pool."""

NodeType = Literal["nanio-only", "nginx-only", "nginx-nanio"]
BucketStatus = Literal["unrouted", "routed", "migrating", "ignored", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDraft:
    """A pool as somebody wants it."""

    name: str
    description: str | None = None
    type: PoolType = "nanio"
    lb_method: Balancing = "least_conn"
    keepalive: int = 32
    source_nanio_pool_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDraft:
    """A server of a pool as somebody wants it."""

    address: str
    role: Role | None = None
    """None: the first role that suits the pool's type."""
    weight: int = 1
    max_fails: int = 3
    fail_timeout_s: int = 30
    enabled: bool = True
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsDraft:
    """The S3 keys of a pool, in clear; never logged, audited or sent."""

    access_key: str
    secret_key: str
    endpoint_url: str | None = None
    region: str = "us-east-1"

    def __repr__(self) -> str:
        return f"CredentialsDraft(region={self.region!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VhostDraft:
    """A vhost as somebody wants it, without its routes."""

    server_name: str
    listen_port: int = 443
    ssl: bool = True
    ssl_cert_path: str | None = None
    ssl_key_path: str | None = None
    extra_directives: str | None = None
    extra_blocks: tuple[BlockSpec, ...] | None = None
    enabled: bool = True
    description: str | None = None
    default_pool_id: int | None = None
    ip_rule_mode: Literal["allow", "deny"] | None = None
    ip_rule_ips: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDraft:
    """A route of a vhost as somebody wants it."""

    vhost_id: int
    path_prefix: str
    pool_id: int
    key_prefix: str | None = None
    extra_directives: str | None = None
    enabled: bool = True
    description: str | None = None


def bucket_of(path_prefix: str, key_prefix: str | None) -> str | None:
    """The bucket that a route names; None when it is no bucket name or its keys are rewritten."""
    name = path_prefix.strip("/")
    return name if BUCKET_NAME.fullmatch(name) and not key_prefix else None


def reached_bucket(path_prefix: str, key_prefix: str | None) -> str:
    """The bucket whose objects a route shows, or some of them; empty when it names none."""
    return (key_prefix or path_prefix).strip("/").partition("/")[0]


def is_plain(bucket: str | None, extra_directives: str | None, *, enabled: bool) -> bool:
    """True when a route exists only as a routing flag: no file names it."""
    return bucket is not None and enabled and not (extra_directives or "").strip()


def as_directives(text: str | None) -> str:
    """A route's directives as nginx wants them: the last ``;`` may be left out."""
    stripped = (text or "").strip()
    return stripped if not stripped or stripped.endswith(";") else stripped + ";"


def same_place(path_prefix: str) -> str:
    """What two prefixes that reach the same place have in common: ``/b`` and ``/b/``."""
    return path_prefix.rstrip("/") or ROOT_PREFIX


def role_for(pool_type: str, role: str | None) -> str:
    """The role of a member in a pool of this type. Raises ``BadRequest``."""
    if pool_type == "nanio":
        if role not in {None, "active"}:
            raise BadRequest(
                "nanio pools use shared storage — all members are active, "
                "backup/replica not allowed",
                hint="leave the role out, or use a pool of type http",
            )
        return "active"
    if role == "active":
        raise BadRequest(
            "http pools require role 'primary' or 'replica', not 'active'",
            hint="leave the role out for primary",
        )
    return role or "primary"


def check_type_change(pool_name: str, new_type: str, roles: Sequence[str]) -> None:
    """The roles of a pool's members must suit its new type. Raises ``BadRequest``."""
    fitting = {"active"} if new_type == "nanio" else {"primary", "replica"}
    wrong = sorted(set(roles) - fitting)
    if wrong:
        raise BadRequest(
            f"Pool '{pool_name}' cannot become '{new_type}': it has members with role(s) "
            f"{', '.join(wrong)}",
            hint="remove these members first, or make a new pool",
        )


def check_same_type(name: str, pool_type: str, used_types: set[str]) -> None:
    """The pools of a vhost are all of one type. Raises ``BadRequest``."""
    others = used_types - {pool_type}
    if others:
        raise BadRequest(
            f"Pool '{name}' is of type '{pool_type}', but this vhost uses "
            f"'{min(others)}' pools. You cannot mix pool types within a vhost.",
            hint="choose a pool of the other type, or make a second vhost",
        )
