"""The pages of the console: one line each. Tests look at every one, pictures are taken of them.

``{words}`` in a path are the names that `docs.console_site.furnish` gives.
"""

PAGES = {
    "api": "/api/docs",
    "overview": "/",
    "search": "/web/search?q=photos",
    "pools": "/web/pools",
    "pool-new": "/web/pools/new",
    "pool": "/web/pools/{pool}",
    "pool-off": "/web/pools/{off_pool}?check=true",
    "pool-edit": "/web/pools/{pool}/edit",
    "pool-keys": "/web/pools/{pool}/keys",
    "member-new": "/web/pools/{http_pool}/members/new",
    "node-setup": "/web/pools/{pool}/members/{member}/setup",
    "pool-buckets": "/web/pools/{pool}/buckets",
    "buckets": "/web/buckets",
    "vhost-buckets": "/web/vhosts/{vhost}/buckets",
    "bucket": "/web/vhosts/{vhost}/buckets/{bucket}",
    "bucket-unrouted": "/web/vhosts/{vhost}/buckets/{unrouted_bucket}",
    "config": "/web/config",
    "config-drift": "/web/config/drift",
    "config-history": "/web/config/history",
    "config-files": "/web/config/files",
    "config-import": "/web/config/import",
    "audit": "/web/audit",
    "migrations": "/web/migrations",
    "migration-new": "/web/migrations/new",
    "migration-running": "/web/migrations/{moving}",
    "migration-done": "/web/migrations/{moved}",
    "migrations-orphaned": "/web/migrations/orphaned",
    "jobs": "/web/jobs",
    "job": "/web/jobs/{job}",
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

TESTED_ONLY = frozenset(
    {
        "setting",
        "user-new",
        "token-new",
        "backup-new",
        "api",
        "search",
        "pool-edit",
        "pool-keys",
        "member-new",
    }
)
"""No picture is taken of them."""
