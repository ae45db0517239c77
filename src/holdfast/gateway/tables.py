"""Rows of the gateway; queries on them are in ``queries.py``.

``extra_blocks`` and ``ip_rule_ips`` are JSON texts.
"""

from datetime import datetime

from sqlalchemy import Connection, ForeignKey, Index, Text, UniqueConstraint, event
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from holdfast.gateway.model import bucket_of, is_plain
from holdfast.kernel.db import Base


class PoolRow(Base, kw_only=True):
    """Servers that nginx balances over. ``type``: ``nanio`` (any S3 server) or ``http``."""

    __tablename__ = "pool"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str | None] = mapped_column(default=None)
    type: Mapped[str] = mapped_column(default="nanio")
    lb_method: Mapped[str] = mapped_column(default="least_conn")
    keepalive: Mapped[int] = mapped_column(default=32)
    source_nanio_pool_id: Mapped[int | None] = mapped_column(
        ForeignKey("pool.id", ondelete="SET NULL"), default=None
    )
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class MemberRow(Base, kw_only=True):
    """One server of a pool."""

    __tablename__ = "pool_member"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id", ondelete="CASCADE"), index=True)
    address: Mapped[str]
    role: Mapped[str] = mapped_column(default="active")
    weight: Mapped[int] = mapped_column(default=1)
    max_fails: Mapped[int] = mapped_column(default=3)
    fail_timeout_s: Mapped[int] = mapped_column(default=30)
    enabled: Mapped[bool] = mapped_column(default=True)
    description: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SilentMemberRow(Base, kw_only=True):
    """A member that took no connection when it was last asked, with what was wrong."""

    __tablename__ = "silent_member"

    member_id: Mapped[int] = mapped_column(
        ForeignKey("pool_member.id", ondelete="CASCADE"), primary_key=True
    )
    problem: Mapped[str]
    since: Mapped[datetime]


class CredentialRow(Base, kw_only=True):
    """The S3 keys of a pool, sealed."""

    __tablename__ = "pool_credential"

    pool_id: Mapped[int] = mapped_column(
        ForeignKey("pool.id", ondelete="CASCADE"), primary_key=True
    )
    access_key_enc: Mapped[str]
    secret_key_enc: Mapped[str]
    endpoint_url: Mapped[str | None]
    region: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class NodeConfigRow(Base, kw_only=True):
    """A node set-up that was generated for a member; keys are left out."""

    __tablename__ = "node_config"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    member_id: Mapped[int] = mapped_column(
        ForeignKey("pool_member.id", ondelete="CASCADE"), index=True
    )
    node_type: Mapped[str]
    config_json: Mapped[str] = mapped_column(Text)
    generated_at: Mapped[datetime]


class VhostRow(Base, kw_only=True):
    """An nginx server block."""

    __tablename__ = "vhost"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    server_name: Mapped[str] = mapped_column(unique=True)
    listen_port: Mapped[int] = mapped_column(default=443)
    ssl: Mapped[bool] = mapped_column(default=True)
    ssl_cert_path: Mapped[str | None] = mapped_column(default=None)
    ssl_key_path: Mapped[str | None] = mapped_column(default=None)
    extra_directives: Mapped[str | None] = mapped_column(Text, default=None)
    extra_blocks: Mapped[str | None] = mapped_column(Text, default=None)
    enabled: Mapped[bool] = mapped_column(default=True)
    default_pool_id: Mapped[int | None] = mapped_column(ForeignKey("pool.id"), default=None)
    ip_rule_mode: Mapped[str | None] = mapped_column(default=None)
    ip_rule_ips: Mapped[str | None] = mapped_column(Text, default=None)
    buckets_synced_at: Mapped[datetime | None] = mapped_column(default=None)
    description: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RouteRow(Base, kw_only=True):
    """A path prefix of a vhost that goes to a pool; ``/`` is the default pool's.

    ``bucket`` (None: not a bucket route) and ``plain`` (only a routing flag, in no file) follow
    from the rest and are filled in when the row is written.
    """

    __tablename__ = "route"
    __table_args__ = (
        UniqueConstraint("vhost_id", "path_prefix"),
        UniqueConstraint("vhost_id", "bucket"),
        Index("ix_route_bucket", "bucket"),
        Index("ix_route_vhost_plain", "vhost_id", "plain"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    vhost_id: Mapped[int] = mapped_column(ForeignKey("vhost.id", ondelete="CASCADE"), index=True)
    path_prefix: Mapped[str]
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"), index=True)
    key_prefix: Mapped[str | None] = mapped_column(default=None)
    extra_directives: Mapped[str | None] = mapped_column(Text, default=None)
    enabled: Mapped[bool] = mapped_column(default=True)
    migration_id: Mapped[int | None] = mapped_column(default=None)
    bucket: Mapped[str | None] = mapped_column(default=None)
    plain: Mapped[bool] = mapped_column(default=False)
    description: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def derived_columns(
    *,
    path_prefix: str,
    key_prefix: str | None,
    extra_directives: str | None,
    enabled: bool,
    **_: object,
) -> dict[str, str | bool | None]:
    """The columns of a route that follow from its others."""
    bucket = bucket_of(path_prefix, key_prefix)
    return {"bucket": bucket, "plain": is_plain(bucket, extra_directives, enabled=enabled)}


@event.listens_for(RouteRow, "before_insert")
@event.listens_for(RouteRow, "before_update")
def _derive(_: Mapper[RouteRow], __: Connection, route: RouteRow) -> None:
    columns = derived_columns(
        path_prefix=route.path_prefix,
        key_prefix=route.key_prefix,
        extra_directives=route.extra_directives,
        enabled=route.enabled,
    )
    for name, value in columns.items():
        setattr(route, name, value)


class BucketRow(Base, kw_only=True):
    """A bucket seen through a vhost: unrouted, routed, migrating, ignored or deleted."""

    __tablename__ = "bucket"
    __table_args__ = (
        UniqueConstraint("vhost_id", "name"),
        Index("ix_bucket_vhost_status", "vhost_id", "status", "name"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    vhost_id: Mapped[int] = mapped_column(ForeignKey("vhost.id", ondelete="CASCADE"))
    name: Mapped[str]
    status: Mapped[str]
    discovered_at: Mapped[datetime]


class PublishedRow(Base, kw_only=True):
    """What this database believes nginx runs with; one row. Compared with the disk at start."""

    __tablename__ = "published"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    generation: Mapped[int] = mapped_column(default=0)
    reload_pending: Mapped[bool] = mapped_column(default=False)
    last_reload_ok: Mapped[bool | None] = mapped_column(default=None)
    last_reload_at: Mapped[datetime | None] = mapped_column(default=None)
    last_output: Mapped[str | None] = mapped_column(Text, default=None)
