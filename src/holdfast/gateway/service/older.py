"""What nanio-orchestrator left on a machine, read without touching any of it.

Its files say what nginx runs with, so they win; its database adds what files lack: ids,
descriptions, disabled members and routes, ignored buckets, credentials.
"""

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.gateway.parse import load_meta, parse_pool, parse_vhost
from holdfast.gateway.render_model import GatewaySpec, MemberSpec, PoolSpec, VhostSpec
from holdfast.kernel.errors import Invalid, NotFound

Row = dict[str, Any]
TABLES = ("pools", "pool_members", "pool_credentials", "vhosts", "routes", "bucket_sync")
FINISHED = frozenset({"done", "error", "cancelled"})


@dataclass(slots=True)
class Older:
    """Everything that was found."""

    spec: GatewaySpec
    credentials: dict[str, Row] = field(default_factory=dict)
    """Sealed by the older tool, by pool."""
    buckets: list[tuple[str, str, str]] = field(default_factory=list)
    """Vhost, bucket, status."""
    moving: list[str] = field(default_factory=list)
    """Migrations that have not ended."""
    warnings: list[str] = field(default_factory=list)


def read_older(nginx_dir: Path, database: Path | None) -> Older:
    """Read it all. Raises ``NotFound`` for what is not there, ``Invalid`` for what is damaged."""
    if not (nginx_dir / "pools").is_dir() and not (nginx_dir / "vhosts").is_dir():
        raise NotFound(
            f"{nginx_dir} has no folder 'pools' or 'vhosts'",
            hint="give its NGINX_CONFIG_DIR with --nginx-dir",
        )
    files = _texts(nginx_dir)
    rows = _rows(database) if database else {name: [] for name in TABLES}
    older = Older(GatewaySpec())
    pools = [_pool(name, files, rows, older) for name in _names(files, rows["pools"], "pools")]
    older.spec = GatewaySpec(pools=tuple(pools))
    hosts = _names(files, rows["vhosts"], "vhosts")
    vhosts = [_vhost(name, files, rows, older) for name in hosts]
    older.spec = GatewaySpec(pools=tuple(pools), vhosts=tuple(vhosts))
    by_id = {row["id"]: row["server_name"] for row in rows["vhosts"]}
    older.buckets = [
        (by_id[row["vhost_id"]], row["bucket"], row["status"])
        for row in rows["bucket_sync"]
        if row["vhost_id"] in by_id
    ]
    older.moving += _moving(database) if database else []
    return older


def _texts(nginx_dir: Path) -> dict[str, str]:
    found = {}
    for folder in ("pools", "vhosts"):
        for path in sorted((nginx_dir / folder).glob("*")):
            if path.name.endswith((".conf", ".meta.json")) and path.is_file():
                found[f"{folder}/{path.name}"] = path.read_text(encoding="utf-8", errors="replace")
    return found


def _rows(database: Path) -> dict[str, list[Row]]:
    """Its tables, read from a copy: opening a database may write beside it."""
    if not database.is_file():
        raise NotFound(f"there is no database {database}", hint="give its DB_PATH with --db")
    with tempfile.TemporaryDirectory() as folder:
        for path in (database, database.with_name(database.name + "-wal")):
            if path.exists():
                shutil.copy(path, folder)
        copy = Path(folder) / database.name
        try:
            with closing(sqlite3.connect(copy)) as connection:
                connection.row_factory = sqlite3.Row
                return {name: _table(connection, name) for name in TABLES}
        except sqlite3.DatabaseError as error:
            raise Invalid(f"{database} cannot be read: {error}") from None


def _table(connection: sqlite3.Connection, name: str) -> list[Row]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    if known is None:
        return []
    return [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY id")]  # noqa: S608 - from TABLES


def _names(files: dict[str, str], rows: list[Row], folder: str) -> list[str]:
    column = "name" if folder == "pools" else "server_name"
    names = {str(row[column]) for row in rows}
    for path in files:
        if path.startswith(f"{folder}/"):
            name = path.removeprefix(f"{folder}/")
            names.add(name.removesuffix(".meta.json").removesuffix(".conf"))
    return sorted(names)


def _pool(name: str, files: dict[str, str], rows: dict[str, list[Row]], older: Older) -> PoolSpec:
    """One pool; a file that the database knows nothing of is one all the same: nginx has it."""
    conf = files.get(f"pools/{name}.conf")
    meta = load_meta(files.get(f"pools/{name}.meta.json"))
    row = next((row for row in rows["pools"] if row["name"] == name), None)
    if row:
        meta |= _pool_meta(row, rows)
    elif rows["pools"]:
        older.warnings.append(
            f"pool {name!r}: its files are left over, the database has no such pool"
        )
    credentials = _credentials(row, rows) or meta.pop("credentials", None)
    meta.pop("credentials", None)
    if credentials:
        older.credentials[name] = credentials
    meta["source_nanio_pool_name"] = _source_name(meta, rows)
    spec = parse_pool(name, conf, json.dumps(meta))
    return replace(spec, members=_without_doubles(spec, older))


def _pool_meta(row: Row, rows: dict[str, list[Row]]) -> Row:
    members = [member for member in rows["pool_members"] if member["pool_id"] == row["id"]]
    fields = ("name", "description", "type", "lb_method", "keepalive", "updated_at")
    return {
        "pool_id": row["id"],
        **{name: row.get(name) for name in fields},
        "source_nanio_pool_id": row.get("source_nanio_pool_id"),
        "members": members,
    }


def _source_name(meta: Row, rows: dict[str, list[Row]]) -> str | None:
    wanted = meta.get("source_nanio_pool_id")
    return next((row["name"] for row in rows["pools"] if wanted and row["id"] == wanted), None)


def _credentials(row: Row | None, rows: dict[str, list[Row]]) -> Row | None:
    wanted = row["id"] if row else None
    return next((c for c in rows["pool_credentials"] if c["pool_id"] == wanted), None)


def _without_doubles(spec: PoolSpec, older: Older) -> tuple[MemberSpec, ...]:
    """An address that was named twice is one member with the weight of both."""
    found: dict[str, MemberSpec] = {}
    for member in spec.members:
        first = found.get(member.address)
        if first is None:
            found[member.address] = member
        elif first.enabled and member.enabled:
            weight = min(first.weight + member.weight, 100)
            found[member.address] = replace(first, weight=weight)
            older.warnings.append(f"pool {spec.name!r}: {member.address} was named twice")
        elif member.enabled:
            found[member.address] = member
    return tuple(found.values())


def _vhost(name: str, files: dict[str, str], rows: dict[str, list[Row]], older: Older) -> VhostSpec:
    conf = files.get(f"vhosts/{name}.conf")
    meta = load_meta(files.get(f"vhosts/{name}.meta.json"))
    row = next((row for row in rows["vhosts"] if row["server_name"] == name), None)
    if row:
        meta |= _vhost_meta(row, rows)
    elif rows["vhosts"]:
        older.warnings.append(f"vhost {name!r}: only in files, the database has no such vhost")
    meta["enabled"] = True  # the older tool keeps the word and serves it all the same
    if row and not row["enabled"]:
        older.warnings.append(f"vhost {name!r}: was marked as disabled and served; it is served")
    if conf and "@nanio_mig_" in conf:
        older.moving.append(f"vhost {name!r} sends the writes of a bucket to another pool")
    spec = parse_vhost(name, conf, json.dumps(meta))
    older.warnings += _only_in_database(spec, meta, served=conf is not None)
    return spec


def _vhost_meta(row: Row, rows: dict[str, list[Row]]) -> Row:
    pools = {pool["id"]: pool["name"] for pool in rows["pools"]}
    fields = (
        "server_name", "listen_port", "ssl", "ssl_cert_path", "ssl_key_path", "extra_directives",
        "extra_blocks_json", "ip_rule_mode", "ip_rule_ips_json", "updated_at",
    )  # fmt: skip
    routes = [
        {**route, "pool": pools[route["pool_id"]]}
        for route in rows["routes"]
        if route["vhost_id"] == row["id"]
        and route["path_prefix"] != "/"
        and route["pool_id"] in pools
    ]
    return {
        "vhost_id": row["id"],
        **{name: row.get(name) for name in fields},
        "default_pool_name": pools.get(row.get("default_pool_id")),
        "routes": routes,
    }


def _only_in_database(spec: VhostSpec, meta: Row, *, served: bool) -> list[str]:
    """Routes that the database has and nginx never had: they are left out."""
    if not served:
        return []
    known = {route.path_prefix.rstrip("/") for route in spec.routes}
    return [
        f"route {route['path_prefix']} of vhost {spec.server_name!r}: only in the database, nginx "
        "did not have it; left out"
        for route in meta.get("routes") or []
        if route.get("enabled", True) and route["path_prefix"].rstrip("/") not in known
    ]


def _moving(database: Path) -> list[str]:
    """Records of migrations that have not ended."""
    found = []
    for path in sorted((database.parent / "migrations").glob("migration-*.state.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = {}
        if record.get("status") not in FINISHED or record.get("nginx_state") == "split":
            found.append(f"migration {record.get('migration_id', path.name)} has not ended")
    return found
