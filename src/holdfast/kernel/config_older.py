"""Settings of nanio-orchestrator: what they are called here, and what its environment says."""

import os

OLD_PREFIX = "NANIO_ORCHESTRATOR_"
OLDER_ENVIRONMENT = "older environment"
OLD_NAMES = {
    "nginx_config_dir": "nginx_dir",
    "session_ttl": "session_ttl_seconds",
    "bucket_sync_interval": "bucket_sync_interval_seconds",
    "s3_request_timeout": "s3_request_timeout_seconds",
    "drift_interval": "drift_interval_seconds",
    "db_path": "database_url",
    "db_backup_path": "backup_dir",
    "db_backup_interval": "backup_interval_seconds",
    "db_backup_rotate": "backup_rotate",
}
"""Names of the older gateway tool whose meaning lives on under another name."""
GONE_NAMES = {
    "log_file": "the log goes to standard error, where the service manager keeps it",
    "rclone_path": "rclone comes with Holdfast, and its own S3 client moves buckets",
}
"""Settings of that tool which have nothing to set here, and why."""
_SAME_NAMES = (
    "host",
    "port",
    "api_key",
    "log_level",
    "s3_access_key",
    "s3_secret_key",
    "migration_max_parallel",
    "migration_bandwidth_limit",
    "migration_checkers",
    "migration_transfers",
    "migration_max_copy_passes",
)
_LEVELS = {"critical": "error", "warn": "warning", "trace": "debug"}
_ITS_OWN = {"nginx_config_dir", "db_path", "db_backup_path"}
"""Where its own data lie, which stay as they are; so does ``secret``, which seals them.

They are for ``holdfast import`` alone.
"""


def from_older_environment() -> dict[str, str]:
    """What the variables of the older tool say of our settings; empty ones say nothing."""
    names = {name: name for name in _SAME_NAMES} | OLD_NAMES
    given = {old: os.environ.get(OLD_PREFIX + old.upper(), "") for old in names.keys() - _ITS_OWN}
    return {names[old]: _as_ours(old, text) for old, text in given.items() if text}


def _as_ours(old: str, text: str) -> str:
    """Its log levels by our names; its bandwidth as rclone reads it: KiB a second, or ``off``."""
    match old:
        case "log_level":
            return _LEVELS.get(text.lower(), text.lower())
        case "migration_bandwidth_limit":
            return "" if text.lower() == "off" else text + "K" * text[-1].isdigit()
        case _:
            return text
