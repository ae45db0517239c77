"""A made-up installation of nanio-orchestrator, its files as that tool writes them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

SECRET = Fernet.generate_key().decode()
SCHEMA = """
CREATE TABLE pools (id INTEGER PRIMARY KEY, name TEXT, description TEXT, type TEXT, lb_method TEXT,
  keepalive INTEGER, source_nanio_pool_id INTEGER, created_at TEXT, updated_at TEXT);
CREATE TABLE pool_members (id INTEGER PRIMARY KEY, pool_id INTEGER, address TEXT, role TEXT,
  weight INTEGER, max_fails INTEGER, fail_timeout_s INTEGER, enabled INTEGER, created_at TEXT,
  updated_at TEXT);
CREATE TABLE vhosts (id INTEGER PRIMARY KEY, server_name TEXT, listen_port INTEGER, ssl INTEGER,
  ssl_cert_path TEXT, ssl_key_path TEXT, extra_directives TEXT, extra_blocks_json TEXT,
  enabled INTEGER, default_pool_id INTEGER, ip_rule_mode TEXT, ip_rule_ips_json TEXT,
  created_at TEXT, updated_at TEXT);
CREATE TABLE routes (id INTEGER PRIMARY KEY, vhost_id INTEGER, path_prefix TEXT, pool_id INTEGER,
  key_prefix TEXT, extra_directives TEXT, enabled INTEGER, created_at TEXT, updated_at TEXT);
CREATE TABLE pool_credentials (id INTEGER PRIMARY KEY, pool_id INTEGER, access_key_enc TEXT,
  secret_key_enc TEXT, endpoint_url TEXT, region TEXT, created_at TEXT, updated_at TEXT);
CREATE TABLE bucket_sync (id INTEGER PRIMARY KEY, vhost_id INTEGER, bucket TEXT,
  discovered_at TEXT, status TEXT, routed_pool_id INTEGER);
"""
MOMENT = "2025-03-04 05:06:07"
HEADERS = """        proxy_http_version 1.1;
        proxy_set_header   Host              $host;
        proxy_set_header   X-Real-IP         $remote_addr;
        proxy_set_header   X-Forwarded-For   $proxy_add_x_forwarded_for;
        proxy_set_header   Connection        "";
"""


def location(route_id: int, prefix: str, pool: str, first: str = "") -> str:
    return (
        f"    # route_id:{route_id} prefix:{prefix}\n    location {prefix} {{\n{first}"
        f"        proxy_pass         http://{pool};\n{HEADERS}    }}\n"
    )


def install(root: Path, port: int, one: str, two: str) -> tuple[Path, Path]:
    """Write it; gives its nginx directory and its database."""
    nginx, data = root / "nginx-old", root / "data-old"
    for folder in (nginx / "pools", nginx / "vhosts", data / "migrations"):
        folder.mkdir(parents=True)
    _files(nginx, port, one, two)
    _database(data / "orchestrator.db", port, one, two)
    done = {
        "migration_id": 3, "vhost_id": 12, "bucket": "moved", "source_pool_id": 4,
        "source_pool_name": "first", "target_pool_id": 6, "target_pool_name": "second",
        "mode": "copy", "route_id": 22, "status": "done", "orphaned_source_pool_id": 4,
        "orphaned_source_prefix": "/moved/", "orphaned_at": "2025-03-04T05:06:07Z",
        "written_at": "2025-03-04T05:06:07Z",
    }  # fmt: skip
    (data / "migrations/migration-3.done.json").write_text(json.dumps(done, indent=2) + "\n")
    return nginx, data / "orchestrator.db"


def _files(nginx: Path, port: int, one: str, two: str) -> None:
    (nginx / "pools/first.conf").write_text(
        "# managed by nanio-orchestrator\n"
        "# pool_id:4 name:first type:nanio updated:2025-03-04T05:06:07Z\n"
        f"upstream first {{\n    least_conn;\n    server {one} weight=2 max_fails=3 "
        "fail_timeout=30s;\n    keepalive 16;\n}\n"
    )
    (nginx / "pools/second.conf").write_text(
        "# managed by nanio-orchestrator\n"
        "# pool_id:6 name:second type:nanio updated:2025-03-04T05:06:07Z\n"
        f"upstream second {{\n    server {two} weight=1 max_fails=3 fail_timeout=30s;\n"
        "    keepalive 32;\n}\n"
    )
    rewrite = "        rewrite ^/deep/er/(.*)$ /inner/$1 break;\n"
    (nginx / "vhosts/s3.local.conf").write_text(
        "# managed by nanio-orchestrator\n# vhost_id:12 name:s3.local updated:2025-03-04\n"
        f"server {{\n    listen {port};\n    server_name s3.local;\n    deny 10.9.9.9;\n"
        "    client_max_body_size 0;\n    proxy_request_buffering off;\n"
        "    proxy_buffering         off;\n    gzip on;\n"
        + location(23, "/deep/er/", "first", rewrite)
        + location(22, "/moved/", "second")
        + location(21, "/", "first")
        + "}\n"
    )
    for name, meta in {
        "pools/first": {"pool_id": 4, "name": "first", "type": "nanio", "description": "stale"},
        "vhosts/s3.local": {
            "vhost_id": 12, "server_name": "s3.local", "default_pool_id": 4,
            "default_pool_name": "first", "extra_blocks_json": None, "ip_rule_mode": "deny",
            "ip_rule_ips_json": '["10.9.9.9"]',
        },
    }.items():  # fmt: skip
        (nginx / f"{name}.meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def _database(path: Path, port: int, one: str, two: str) -> None:
    sealed = Fernet(SECRET.encode())
    keys = [sealed.encrypt(text.encode()).decode() for text in ("older-access", "older-secret")]
    times = (MOMENT, MOMENT)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "pools": [
            (4, "first", "the first", "nanio", "least_conn", 16, None, *times),
            (6, "second", None, "nanio", "round_robin", 32, None, *times),
            (7, "web", None, "http", "least_conn", 32, 4, *times),
        ],
        "pool_members": [
            (1, 4, one, "active", 2, 3, 30, 1, *times),
            (2, 4, "127.0.0.1:9", "active", 1, 3, 30, 0, *times),
            (3, 6, two, "active", 1, 3, 30, 1, *times),
        ],
        "vhosts": [
            (12, "s3.local", port, 0, None, None, "gzip on;", None, 1, 4, "deny",
             '["10.9.9.9"]', *times),
        ],
        "routes": [
            (21, 12, "/", 4, None, None, 1, *times),
            (22, 12, "/moved/", 6, None, None, 1, *times),
            (23, 12, "/deep/er/", 4, "inner", None, 1, *times),
            (24, 12, "/off/", 6, None, None, 0, *times),
            (25, 12, "/never-written/", 6, None, None, 1, *times),
        ],
        "pool_credentials": [(1, 6, *keys, "http://127.0.0.1:9000", "eu-west-1", *times)],
        "bucket_sync": [
            (1, 12, "secret-stuff", MOMENT, "ignored", None),
            (2, 12, "moved", MOMENT, "routed", 6),
        ],
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        for table, values in rows.items():
            marks = ", ".join("?" * len(values[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        connection.commit()
