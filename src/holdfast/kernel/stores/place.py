"""A stored place, opened: how rclone reaches it, and our own S3 client where it is S3."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import Invalid, NotFound
from holdfast.kernel.services import Services
from holdfast.kernel.stores.host_keys import (
    HostKeyUnknown,
    algorithms,
    keys_in,
    write_known_hosts,
)
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.tables import StoreRow

DEFAULT_REGION = "us-east-1"
_PLAIN_S3 = frozenset(
    {
        "access_key_id",
        "acl",
        "chunk_size",
        "description",
        "disable_checksum",
        "endpoint",
        "force_path_style",
        "list_chunk",
        "location_constraint",
        "no_check_bucket",
        "no_head",
        "provider",
        "region",
        "secret_access_key",
        "storage_class",
        "upload_concurrency",
        "upload_cutoff",
    }
)
"""Options with which our own client sees the same objects under the same names."""
_HOST_NAMED_BUCKETS = frozenset({"Alibaba", "HuaweiOBS", "Netease", "TencentCOS", "Volcengine"})
"""Providers that do not take a bucket's name in the path, as our client gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """A prefix of a bucket, for our own client. Never log it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str
    prefix: str
    """What the keys begin with: empty, or with a slash at its end."""

    def __repr__(self) -> str:
        return f"S3Place({self.endpoint!r}, {self.bucket!r}, {self.prefix!r})"

    def client(self, *, limit: int = 64, request_seconds: float | None = None) -> S3Client:
        """A client, not open yet: use it with ``async with``."""
        keys = (self.access_key, self.secret_key, self.region)
        return S3Client(self.endpoint, *keys, limit=limit, request_seconds=request_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of a store."""

    name: str
    """The store's."""
    kind: str
    remote: Remote
    """Its root is the store's root and the folder."""
    s3: S3Place | None
    """When our own client can be used besides."""


async def open_place(
    session: AsyncSession, services: Services, store_id: int, prefix: str = ""
) -> Place:
    """A folder of a store, its secrets unsealed; asks nobody anything.

    Raises ``NotFound``, ``CannotUnseal``, ``Invalid`` for a prefix that leads out of the store, and
    `HostKeyUnknown` of an SFTP store whose host never answered.
    """
    row = await session.get(StoreRow, store_id)
    if row is None:
        raise NotFound(f"there is no store {store_id}", hint="holdfast store list")
    return await place_of(services, row, prefix)


async def place_of(services: Services, row: StoreRow, prefix: str = "") -> Place:
    """The same of a row that is there already."""
    hub = services.get(RcloneHub)
    hidden = secrets_of(services, row)
    options = {**json.loads(row.options), **hidden}
    root = below(row.root, prefix)
    told = await _with_host_keys(services, row, options) if row.kind == "sftp" else options
    remote = hub.remote(
        row.id,
        row.updated_at,
        root,
        lambda: Remote(row.kind, told, root, secret=frozenset(hidden)),
    )
    s3 = s3_place(options, root) if row.kind == "s3" else None
    return Place(name=row.name, kind=row.kind, remote=remote, s3=s3)


def secrets_of(services: Services, row: StoreRow) -> dict[str, str]:
    """The secret options, in clear. Raises ``CannotUnseal``."""
    if not row.secrets_enc:
        return {}
    found: dict[str, str] = json.loads(services.sealer.unseal(row.secrets_enc))
    return found


def below(root: str, prefix: str) -> str:
    """A folder of a root. Raises ``Invalid`` for one that is not below it."""
    folder = prefix.strip("/")
    if any(part in {".", ".."} for part in folder.split("/")) or "\0" in folder:
        raise Invalid(f"{prefix!r} does not name a folder of a store", hint="for example team/data")
    return f"{root.rstrip('/')}/{folder}" if folder and root else folder or root


def s3_place(options: Mapping[str, str], root: str) -> S3Place | None:
    """For our own client, unless the options ask for what it does not know."""
    access_key, secret_key = options.get("access_key_id"), options.get("secret_access_key")
    bucket, _, prefix = root.strip("/").partition("/")
    endpoint = s3_endpoint(options)
    if not (access_key and secret_key and bucket and endpoint) or set(options) - _PLAIN_S3:
        return None
    if options.get("force_path_style", "true") != "true":
        return None
    if options.get("provider") in _HOST_NAMED_BUCKETS:
        return None
    return S3Place(
        endpoint=endpoint,
        access_key=access_key,
        secret_key=secret_key,
        region=options.get("region") or DEFAULT_REGION,
        bucket=bucket,
        prefix=f"{prefix}/" if prefix else "",
    )


def s3_endpoint(options: Mapping[str, str]) -> str:
    """``scheme://host``; of AWS by its region; empty when there is none to tell."""
    endpoint = options.get("endpoint", "").rstrip("/")
    if endpoint:
        return endpoint if "://" in endpoint else f"https://{endpoint}"
    if options.get("provider") == "AWS":
        return f"https://s3.{options.get('region') or DEFAULT_REGION}.amazonaws.com"
    return ""


async def _with_host_keys(
    services: Services, row: StoreRow, options: Mapping[str, str]
) -> dict[str, str]:
    keys = keys_in(row.host_keys)
    if not keys:
        raise HostKeyUnknown(
            f"the host of the store {row.name!r} never showed its key",
            hint=f"ask it once, and trust what it shows: holdfast store check {row.name}",
        )
    folder = services.settings.data_dir / "rclone" / "hosts"
    path = await asyncio.to_thread(write_known_hosts, folder, row.host_keys)
    told = {"host_key_algorithms": algorithms(keys), **options}
    return {**told, "known_hosts_file": str(path)}
