"""Where settings come from, and what is refused."""

import os
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from holdfast.kernel.config import load_settings, shown_settings, validate_settings
from holdfast.kernel.errors import Invalid


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(("HOLDFAST_", "NANIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(tmp_path))


def test_a_flag_beats_the_environment_which_beats_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('port = 1001\nhost = "10.0.0.1"\nlog_level = "debug"\n')
    monkeypatch.setenv("HOLDFAST_PORT", "1002")
    monkeypatch.setenv("HOLDFAST_HOST", "10.0.0.2")
    loaded = load_settings({"port": 1003})
    assert (loaded.settings.port, loaded.settings.host) == (1003, "10.0.0.2")
    assert loaded.settings.log_level == "debug"
    assert loaded.origins["port"] == "flag"
    assert loaded.origins["host"] == "environment"
    assert loaded.origins["log_level"] == str(tmp_path / "config.toml")
    assert loaded.origins["worker_concurrency"] == "default"


def test_a_secret_file_and_the_credentials_directory_beat_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    (tmp_path / "holdfast_secret").write_text("from-the-directory\n")
    monkeypatch.setenv("HOLDFAST_API_KEY", "from-the-environment")
    monkeypatch.setenv("HOLDFAST_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load_settings().settings
    assert settings.api_key.get_secret_value() == "from-the-file"
    assert settings.secret.get_secret_value() == "from-the-directory"


OLDER = {
    "HOST": "0.0.0.0",
    "PORT": "8081",
    "API_KEY": "their own key # and all of it",
    "LOG_LEVEL": "WARN",
    "SESSION_TTL": "600",
    "BUCKET_SYNC_INTERVAL": "7",
    "S3_REQUEST_TIMEOUT": "60",
    "S3_ACCESS_KEY": "AKIA",
    "S3_SECRET_KEY": "hidden",
    "MIGRATION_MAX_PARALLEL": "3",
    "MIGRATION_BANDWIDTH_LIMIT": "500",
    "MIGRATION_CHECKERS": "5",
    "MIGRATION_TRANSFERS": "4",
    "MIGRATION_MAX_COPY_PASSES": "9",
    "DRIFT_INTERVAL": "61",
    "DB_BACKUP_INTERVAL": "301",
    "DB_BACKUP_ROTATE": "4",
}
ITS_OWN = {
    "SECRET": "seals its keys",
    "DB_PATH": "/srv/older/orchestrator.db",
    "DB_BACKUP_PATH": "/srv/older/orchestrator.db.bak",
    "NGINX_CONFIG_DIR": "/etc/nginx/nanio",
    "LOG_FILE": "/var/log/older.log",
    "RCLONE_PATH": "rclone",
    "DEV": "false",
}


def test_the_environment_of_the_older_tool_is_read_below_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (OLDER | ITS_OWN).items():
        monkeypatch.setenv(f"NANIO_ORCHESTRATOR_{name}", value)
    monkeypatch.setenv("HOLDFAST_PORT", "8082")
    (tmp_path / "config.toml").write_text('host = "10.0.0.1"\n')
    loaded = load_settings()
    found = loaded.settings
    assert (found.host, found.port, found.log_level) == ("0.0.0.0", 8082, "warning")
    assert found.api_key.get_secret_value() == "their own key # and all of it"
    assert (found.session_ttl_seconds, found.bucket_sync_interval_seconds) == (600, 7)
    assert (found.migration_transfers, found.migration_bandwidth_limit) == (4, "500K")
    assert (found.backup_interval_seconds, found.backup_rotate) == (301, 4)
    read = {name for name, origin in loaded.origins.items() if origin == "older environment"}
    assert len(read) == len(OLDER) - 1  # all but the port
    assert loaded.origins["port"] == "environment"
    for name in ("secret", "database_url", "nginx_dir", "backup_dir"):
        assert loaded.origins[name] == "default", name


def test_a_bad_value_of_the_older_environment_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NANIO_ORCHESTRATOR_DRIFT_INTERVAL", "60 # a comment")
    with pytest.raises(Invalid, match=r"drift_interval_seconds.*older environment") as caught:
        load_settings()
    assert "NANIO_ORCHESTRATOR_" in caught.value.hint


@pytest.mark.parametrize(("older", "ours"), [("off", ""), ("10M", "10M"), ("", "")])
def test_a_bandwidth_of_the_older_tool_is_read_as_it_was_meant(
    monkeypatch: pytest.MonkeyPatch, older: str, ours: str
) -> None:
    monkeypatch.setenv("NANIO_ORCHESTRATOR_MIGRATION_BANDWIDTH_LIMIT", older)
    assert load_settings().settings.migration_bandwidth_limit == ours


def test_what_is_shown_has_no_secret_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_API_KEY", "abcdefghijkl")
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgresql://me:hunter2@db/holdfast")
    shown = shown_settings(load_settings())
    assert shown["api_key"] == "abcd****"
    assert shown["secret"] is None
    assert "hunter2" not in str(shown)


def test_words_of_the_nginx_command_are_split_like_a_shell_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLDFAST_NGINX_COMMAND", "nginx -p '/srv/my gw' -c /srv/gw/nginx.conf")
    words = load_settings().settings.nginx_command
    assert words == ("nginx", "-p", "/srv/my gw", "-c", "/srv/gw/nginx.conf")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_PORT", "70000"),
        ("HOLDFAST_MIGRATION_BANDWIDTH_LIMIT", "fast"),
        ("HOLDFAST_MIGRATION_BANDWIDTH_LIMIT", "5MM"),
        ("HOLDFAST_LOG_LEVEL", "loud"),
        ("HOLDFAST_BACKUP_ROTATE", "0"),
        ("HOLDFAST_MAIL_ADMIN", "the admin"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_origin(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=name.removeprefix("HOLDFAST_").lower()) as caught:
        load_settings()
    assert "environment" in caught.value.message


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("prot = 1\n")
    with pytest.raises(Invalid, match="prot"):
        load_settings()


def test_a_file_that_is_not_toml_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("port = \n")
    with pytest.raises(Invalid, match=r"config\.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"host": "10.0.0.1", "port": 81}, "http://10.0.0.1:81"),
        ({"host": "fd00::1"}, "http://[fd00::1]:8080"),
        ({"host": "::"}, f"http://{gethostname()}:8080"),
        ({"host": "::", "public_url": "https://holdfast.test/"}, "https://holdfast.test"),
    ],
)
def test_links_in_messages_lead_to_an_address(given: dict[str, Any], address: str) -> None:
    assert validate_settings(given).public_address == address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "http://10.0.0.1:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
    ],
)
def test_a_server_is_opened_on_its_own_machine_at_an_address_on_which_it_listens(
    host: str, address: str
) -> None:
    assert validate_settings({"host": host}).own_address == address


def test_a_short_database_url_gets_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgres://me@db/holdfast")
    url = load_settings().settings.effective_database_url
    assert url == "postgresql+psycopg://me@db/holdfast"
