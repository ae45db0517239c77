"""The pages of the console: one line each. Tests look at every one, pictures are taken of them.

``{words}`` in a path are the names that `docs.console_site.furnish` gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PAGES = {
    "api": "/api/docs",
    "overview": "/",
    "search": "/web/search?q=photos",
    "pools": "/web/pools",
    "pool-new": "/web/pools/new",
    "pool": "/web/pools/{pool}",
    "pool-off": "/web/pools/{off_pool}?check=true",
    "pool-edit": "/web/pools/{pool}/edit",
    "pool-clone": "/web/pools/{pool}/clone",
    "pool-keys": "/web/pools/{pool}/keys",
    "member-new": "/web/pools/{http_pool}/members/new",
    "member-edit": "/web/pools/{pool}/members/{member}/edit",
    "member-clone": "/web/pools/{pool}/members/{member}/clone",
    "node-setup": "/web/pools/{pool}/members/{member}/setup",
    "pool-buckets": "/web/pools/{pool}/buckets",
    "buckets": "/web/buckets",
    "vhost-buckets": "/web/vhosts/{vhost}/buckets",
    "bucket": "/web/vhosts/{vhost}/buckets/{bucket}",
    "bucket-unrouted": "/web/vhosts/{vhost}/buckets/{unrouted_bucket}",
    "bucket-promote": "/web/vhosts/{vhost}/buckets/{unrouted_bucket}/promote",
    "bucket-orphans": "/web/vhosts/{vhost}/orphans",
    "http-vhost-buckets": "/web/vhosts/{http_vhost}/buckets",
    "http-buckets": "/web/vhosts/{http_vhost}/http-buckets",
    "config": "/web/config",
    "config-drift": "/web/config/drift",
    "config-history": "/web/config/history",
    "generation": "/web/config/generations/{generation}",
    "generation-back": "/web/config/generations/{generation}?to=live&diff=sides",
    "config-files": "/web/config/files",
    "config-file": "/web/config/file?path={file}",
    "config-validate": "/web/config/validate",
    "config-sync": "/web/config/sync",
    "config-adopt": "/web/config/adopt",
    "config-reload": "/web/config/reload",
    "config-rebuild": "/web/config/rebuild",
    "config-import": "/web/config/import",
    "audit": "/web/audit",
    "audit-change": "/web/audit/{change}",
    "vhosts": "/web/vhosts",
    "vhost-new": "/web/vhosts/new",
    "vhost": "/web/vhosts/{vhost}",
    "vhost-edit": "/web/vhosts/{vhost}/edit",
    "vhost-clone": "/web/vhosts/{vhost}/clone",
    "route-edit": "/web/vhosts/{vhost}/routes/{route}/edit",
    "route-clone": "/web/vhosts/{vhost}/routes/{route}/clone",
    "route-new": "/web/vhosts/{vhost}/routes/new",
    "migrations": "/web/migrations",
    "migration-new": (
        "/web/migrations/new?bucket={unrouted_bucket}&src_pool_id={pool}&dst_pool_id={new_pool}"
    ),
    "migration-form": "/web/migrations/new",
    "migration-running": "/web/migrations/{moving}",
    "migration-done": "/web/migrations/{moved}",
    "migrations-orphaned": "/web/migrations/orphaned",
    "tiers": "/web/tiers",
    "tier-new": "/web/tiers/new",
    "tier": "/web/tiers/{tier}",
    "tier-edit": "/web/tiers/{tier}/edit",
    "tier-pull": "/web/tiers/{tier}/pull",
    "tier-freeze": "/web/tiers/{tier}/freeze",
    "tier-files": "/web/tiers/{tier}/browse",
    "tier-folder": "/web/tiers/{tier}/browse?path=raw/2019",
    "tier-report": "/web/tiers/{tier}/report",
    "tier-runs": "/web/tiers/runs",
    "tier-run": "/web/tiers/runs/{freeze}",
    "tier-dry-run": "/web/tiers/runs/{dry_run}",
    "tier-stopped": "/web/tiers/runs/{stopped}",
    "stores": "/web/stores",
    "store-new": "/web/stores/new",
    "store-other": "/web/stores/new?kind=other",
    "store-s3": "/web/stores/new?kind=s3",
    "store-sftp": "/web/stores/new?kind=sftp",
    "store-webdav": "/web/stores/new?kind=webdav",
    "store": "/web/stores/{store}",
    "store-away": "/web/stores/{sftp_store}?check=keys",
    "store-edit": "/web/stores/{sftp_store}/edit",
    "jobs": "/web/jobs",
    "job": "/web/jobs/{job}",
    "notifications": "/web/notifications",
    "schedules": "/web/schedules",
    "schedule-new": "/web/schedules/new",
    "settings": "/web/settings",
    "setting": "/web/settings/worker_concurrency/edit",
    "users": "/web/users",
    "user-new": "/web/users/new",
    "user": "/web/users/1",
    "tokens": "/web/tokens",
    "token-new": "/web/tokens/new",
    "sessions": "/web/sessions",
    "backups": "/web/backups",
    "backup-new": "/web/backups/new",
    "health": "/web/health",
    "account": "/web/account",
    "login": "/login",
}
"""Name of the picture, and path. To add a page, add a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """What is done on a page before anybody looks at it."""

    chosen: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)
    """By the fields' labels; of what is chosen, the value."""
    button: str = ""
    """None: the page has it by itself."""
    shown: str
    """What is there then: a selector."""


PRESSED = {
    "migration-new": Press(button="Show the plan", shown="#plan"),
    "bucket-orphans": Press(shown="#rows"),
    "bucket-promote": Press(chosen={"Pool": "new-disks"}, button="Route it", shown="#conflict"),
    "generation": Press(button="Rehearse the way back", shown="main [role=alert]"),
    "vhost-clone": Press(
        chosen={"Default pool": ""},
        typed={"Extra directives": "client_max_body_size as-much-as-there-is;"},
        button="Preview and test",
        shown="#trial [role=alert]",
    ),
}
"""A move is planned; something was left behind; a bucket's objects would be hidden; no way leads
back while a bucket is moved; nginx refuses what was typed."""

TESTED_ONLY = frozenset(
    {
        "migration-form",
        "notifications",
        "audit-change",
        "config-adopt",
        "config-file",
        "config-sync",
        "config-validate",
        "generation",
        "generation-back",
        "http-buckets",
        "member-clone",
        "member-edit",
        "pool-clone",
        "route-clone",
        "route-edit",
        "vhost-clone",
        "bucket-promote",
        "bucket-orphans",
        "http-vhost-buckets",
        "config-reload",
        "config-rebuild",
        "setting",
        "user-new",
        "token-new",
        "backup-new",
        "api",
        "search",
        "tier-edit",
        "tier-new",
        "tier-pull",
        "tier-freeze",
        "tier-folder",
        "tier-runs",
        "tier-stopped",
        "store-new",
        "store-other",
        "store-s3",
        "store-webdav",
        "store-edit",
        "store-away",
        "pool-edit",
        "pool-keys",
        "member-new",
    }
)
"""No picture is taken of them."""
