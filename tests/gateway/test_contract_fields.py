"""What clients of nanio-orchestrator read: every field of its answers and of its files is there."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.restart import Restarter
from holdfast.kernel.work import SYSTEM
from holdfast.migrations.model import Mode, Options, Phase, Stage
from holdfast.migrations.tables import MigrationLogRow, MigrationRow
from tests.gateway.everything import calls, ids_of, named
from tests.gateway.room import HOST
from tests.gateway.scene import Scene

pytestmark = pytest.mark.real

Shape = dict[str, Any]


def fields(names: str, **nested: Any) -> Shape:
    """Fields of an object; a list of one shape stands for a list of such, and not an empty one."""
    return dict.fromkeys(names.split()) | nested


AUDIT = fields(
    "id actor action entity_type entity_id before_json after_json nginx_reload_ok "
    "nginx_reload_output created_at"
)
POOL = fields(
    "id name description type lb_method keepalive source_nanio_pool_id created_at updated_at"
)
MEMBER = fields(
    "id pool_id address role weight max_fails fail_timeout_s enabled created_at updated_at"
)
NODE_CONFIG = fields("node_type member_address instructions", files=[fields("path content")])
MADE_CONFIG = fields("id member_id node_type config_json generated_at")
CREDENTIALS = fields("pool_id access_key_masked endpoint_url region source created_at updated_at")
VHOST = fields(
    "id server_name listen_port ssl ssl_cert_path ssl_key_path extra_directives extra_blocks "
    "enabled default_pool_id ip_rule_mode ip_rule_ips created_at updated_at"
)
ROUTE = fields(
    "id vhost_id path_prefix pool_id pool_name key_prefix extra_directives enabled created_at "
    "updated_at migration_id"
)
BUCKET = fields("name status pool_name routed_pool_id object_count discovered_at")
POOL_BUCKET = fields("bucket status routed_in default_vhosts")
HTTP_ROUTE = fields("id path_prefix pool_id pool_name bucket")
MIGRATION = fields(
    "id vhost_id bucket src_pool_id dst_pool_id mode phase objects_total objects_done bytes_total "
    "bytes_done error_msg started_at finished_at created_at orphaned_source_pool_id "
    "orphaned_source_prefix orphaned_at cascade_warnings"
)
STALE = fields("migration_id bucket src_pool_id dst_pool_id phase reason created_at")
ORPHANED = fields(
    "migration_id bucket src_pool_id dst_pool_id orphaned_source_pool_id orphaned_source_prefix "
    "orphaned_at finished_at"
)
LINE = fields("id migration_id phase message created_at")
PURGED = fields("ok bucket deleted total errors")
FOUND = fields(
    "dry_run migrations completed_migrations warnings",
    pools=[fields("name members type has_credentials has_sidecar source_nanio_pool_id")],
    vhosts=[
        fields("server_name routes has_default_pool has_extra_blocks has_ip_rules has_sidecar")
    ],
)
SYNCED = fields(
    "ok pools_new pools_updated members_new vhosts_new vhosts_updated routes_synced files_synced "
    "warnings"
)
OLD, V, W = "/api/pools/{old}", "/api/vhosts/{vhost}", "/api/vhosts/{web}"
KEYS = {"access_key": "AKIA12345", "secret_key": "hidden"}
NODE = {"node_type": "nginx-nanio"}
NEW_VHOST = {"server_name": "b.local", "listen_port": 8081, "ssl": False}
CALLS: Sequence[tuple[str, str, Any, Any]] = (
    (
        "GET",
        "/api/health",
        None,
        fields("status version dev_mode db_ok nginx_config_dir drift_alerts"),
    ),
    ("GET", "/api/audit", None, [AUDIT]),
    ("GET", "/api/pools", None, [POOL]),
    ("POST", "/api/pools", {"name": "more"}, POOL),
    ("GET", OLD, None, POOL),
    ("PUT", OLD, {"keepalive": 9}, POOL),
    ("GET", OLD + "/members", None, [MEMBER]),
    ("POST", OLD + "/members", {"address": "127.0.0.1:11", "enabled": False}, MEMBER),
    ("PUT", OLD + "/members/{member}", {"weight": 2}, MEMBER),
    ("GET", OLD + "/members/{member}/node-config", None, NODE_CONFIG),
    ("POST", OLD + "/members/{member}/node-config", NODE, NODE_CONFIG),
    ("GET", "/api/pools/{spare}/credentials", None, CREDENTIALS),
    ("PUT", "/api/pools/{spare}/credentials", KEYS, CREDENTIALS),
    ("DELETE", "/api/pools/{spare}/credentials", None, fields("ok pool_id")),
    (
        "GET",
        OLD + "/buckets/status",
        None,
        fields(
            "pool_id pool_name member_address",
            buckets=[POOL_BUCKET],
            all_vhosts=[fields("id server_name")],
        ),
    ),
    ("GET", OLD + "/buckets/free/objects", None, fields("pool_id bucket objects count")),
    ("POST", OLD + "/buckets/routed/purge?dry_run=true", None, fields("pool_id") | PURGED),
    ("GET", "/api/vhosts", None, [VHOST]),
    ("POST", "/api/vhosts?dry_run=true", NEW_VHOST, VHOST),
    ("GET", V, None, VHOST),
    ("PUT", V, {"extra_directives": ""}, VHOST),
    ("GET", V + "/preview", None, fields("filepath content")),
    ("GET", V + "/routes", None, [ROUTE]),
    (
        "POST",
        V + "/routes",
        {"path_prefix": "/r/", "pool_id": "{new}"},
        ROUTE | fields("bucket bucket_provisioned default_pool_id"),
    ),
    ("PUT", V + "/routes/{route}", {"enabled": True}, ROUTE),
    (
        "GET",
        V + "/buckets?fetch_counts=true",
        None,
        fields("vhost_id last_synced_at", buckets=[BUCKET]),
    ),
    ("POST", V + "/buckets/sync", None, fields("vhost_id buckets_found synced_at")),
    ("POST", V + "/buckets/free/ignore", None, fields("ok bucket status")),
    (
        "POST",
        V + "/buckets/free/promote",
        {"pool_id": "{new}", "allow_orphan": True},
        fields("ok output bucket pool route migration_started"),
    ),
    (
        "GET",
        V + "/buckets/orphans",
        None,
        fields("vhost_id checked", orphans=[fields("bucket objects")]),
    ),
    ("POST", V + "/buckets/routed/migrate?dry_run=true", None, fields("ok migration_id bucket")),
    ("POST", V + "/buckets/free/purge-orphan?dry_run=true", None, PURGED),
    ("DELETE", V + "/buckets/free/route", None, fields("ok bucket route_removed")),
    (
        "GET",
        W + "/http-bucket-routes",
        None,
        fields(
            "vhost_id server_name source_nanio_pool_id source_nanio_pool_name",
            routes=[HTTP_ROUTE],
            linked_nanio_buckets=[fields("bucket has_route")],
        ),
    ),
    ("DELETE", W + "/http-bucket-routes/routed", None, fields("ok bucket route_removed")),
    ("POST", W + "/http-bucket-routes/routed", None, fields("ok bucket route pool_id")),
    (
        "POST",
        "/api/migrations",
        {"bucket": "free", "src_pool_id": "{old}", "dst_pool_id": "{new}"},
        MIGRATION,
    ),
    ("GET", "/api/migrations", None, [MIGRATION]),
    ("GET", "/api/migrations/{moving}", None, MIGRATION),
    ("GET", "/api/migrations/source-buckets?pool_id={old}", None, fields("pool_id buckets")),
    ("GET", "/api/migrations/stale", None, [STALE]),
    ("POST", "/api/migrations/{moving}/cancel", None, fields("ok migration_id")),
    ("GET", "/api/migrations/orphaned", None, [ORPHANED]),
    ("GET", "/api/migrations/{ended}/log", None, [LINE]),
    (
        "GET",
        "/api/config/status",
        None,
        fields(
            "last_reload_ok last_reload_at",
            files=[fields("path sha256_disk sha256_db drifted last_synced_at")],
        ),
    ),
    ("POST", "/api/config/validate", None, fields("ok output")),
    ("POST", "/api/config/reload", None, fields("ok output")),
    ("POST", "/api/config/sync", None, SYNCED),
    ("POST", "/api/config/rebuild", None, fields("ok output written removed errors")),
    ("POST", "/api/config/absorb-file", {"path": "pools/old.conf"}, fields("ok path sha256")),
    ("POST", "/api/config/rewrite-file", {"path": "pools/old.conf"}, fields("ok output path")),
    ("GET", "/api/config/preview/pool/{old}", None, fields("filepath content")),
    ("GET", "/api/config/preview/vhost/{vhost}", None, fields("filepath content")),
    ("POST", "/api/config/rebuild-from-disk?dry_run=true", None, FOUND),
    ("POST", "/api/config/backup", None, fields("ok backup_path")),
    ("GET", "/api/config/settings", None, fields("config_file dev_mode host port api_key secret")),
    (
        "PUT",
        "/api/config/settings/LOG_LEVEL",
        {"value": "debug"},
        fields("ok key value restart_required"),
    ),
    ("POST", "/api/config/settings/restart", None, fields("ok message")),
    ("GET", OLD + "/node-config-summary", None, [fields("", member=MEMBER, recent_configs=None)]),
)
SIDECARS = {
    "pools/old.meta.json": fields("pool_id name type description updated_at credentials"),
    "pools/web.meta.json": fields("pool_id name type source_nanio_pool_id updated_at"),
    f"vhosts/{HOST}.meta.json": fields(
        "vhost_id server_name default_pool_id default_pool_name extra_blocks_json ip_rule_mode "
        "ip_rule_ips_json updated_at"
    ),
}


def missing(value: Any, shape: Any, place: str = "") -> list[str]:
    """Where a field is not there, or a list is empty that should not be."""
    match shape:
        case [one]:
            if not value:
                return [f"{place}: nothing in it"]
            return [lack for item in value for lack in missing(item, one, place)]
        case dict():
            lacks = [f"{place}.{name}" for name in shape if name not in value]
            return lacks + [
                lack
                for name, one in shape.items()
                if one is not None and name in value
                for lack in missing(value[name], one, f"{place}.{name}")
            ]
    return []


async def an_ended_migration(scene: Scene) -> int:
    """As its driver leaves one."""
    ended = {"stage": Stage.DONE.value, "phase": Phase.DONE.value, "finished_at": now()}
    left = {"orphaned_source_prefix": "/gone/", "orphaned_at": now()}
    async with scene.room.services.database.write(SYSTEM) as work:
        row = MigrationRow(
            vhost_id=scene.vhost,
            bucket="gone",
            src_pool_id=scene.new,
            dst_pool_id=scene.old,
            mode=Mode.COPY.value,
            vhosts="[]",
            options=Options().to_json(),
            created_at=now(),
        )
        for name, value in (ended | left | {"orphaned_source_pool_id": scene.new}).items():
            setattr(row, name, value)
        work.session.add(row)
        await work.session.flush()
        work.session.add(
            MigrationLogRow(migration_id=row.id, phase="done", message="done", created_at=now())
        )
        return row.id


async def test_every_field_of_the_older_tool_is_told(quick_scene: Scene) -> None:
    scene, wrong = quick_scene, list[str]()
    scene.room.services.add(Restarter(lambda: None))
    async with calls(scene) as api:
        ids = await ids_of(scene, api)
        ids["ended"] = await an_ended_migration(scene)
        async with scene.old_server.client() as client:  # the other one is stale
            for key in ("folder/0", "folder/1"):
                await client.delete("moving", key)
            await client.delete_bucket("moving")
        for method, template, body, shape in CALLS:
            path = template.format(**ids)
            answer = await api.request(method, path, json=named(body, ids))
            if answer.status_code not in {200, 201}:
                wrong.append(f"{method} {path}: {answer.text}")
            else:
                wrong += [f"{method} {path} {lack}" for lack in missing(answer.json(), shape)]
    for path, shape in SIDECARS.items():
        wrong += [
            f"{path} {lack}" for lack in missing(json.loads(scene.room.live(path) or "{}"), shape)
        ]
    meta = json.loads(scene.room.live(f"vhosts/{HOST}.meta.json") or "{}")
    assert wrong == []
    assert (meta["default_pool_id"], meta["default_pool_name"]) == (scene.old, "old")
