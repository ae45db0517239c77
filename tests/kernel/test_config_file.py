"""Changing one setting in config.toml."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from holdfast.kernel.config import LoadedSettings, Settings, load_settings
from holdfast.kernel.config_file import KEPT_FILES, check_config, set_setting, setting_name
from holdfast.kernel.errors import Invalid, NotFound


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    return LoadedSettings(Settings(data_dir=tmp_path), {}, tmp_path / "etc" / "config.toml")


def test_comments_and_order_survive_a_change(loaded: LoadedSettings) -> None:
    loaded.config_file.parent.mkdir()
    loaded.config_file.write_text("# ours\nport = 1 # door\n\nhost = '::1'\n")
    changed = set_setting(loaded, "port", "9000")
    assert loaded.config_file.read_text() == "# ours\nport = 9000 # door\n\nhost = '::1'\n"
    assert (changed.name, changed.shown, changed.overridden_by) == ("port", "9000", None)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("port", "port"),
        ("HOLDFAST_PORT", "port"),
        ("worker-concurrency", "worker_concurrency"),
        ("NANIO_ORCHESTRATOR_BUCKET_SYNC_INTERVAL", "bucket_sync_interval_seconds"),
        ("NGINX_CONFIG_DIR", "nginx_dir"),
        ("db_backup_rotate", "backup_rotate"),
    ],
)
def test_a_setting_is_known_by_its_older_names_too(given: str, name: str) -> None:
    assert setting_name(given) == name


@pytest.mark.parametrize("given", ["", "door", "HOLDFAST_", "rclone_path", "model_config"])
def test_an_unknown_setting_is_not_found(loaded: LoadedSettings, given: str) -> None:
    with pytest.raises(NotFound):
        set_setting(loaded, given, "1")
    assert not loaded.config_file.exists()


@pytest.mark.parametrize("given", ["log_file", "NANIO_ORCHESTRATOR_RCLONE_PATH"])
def test_an_older_setting_that_is_gone_says_why(given: str) -> None:
    with pytest.raises(NotFound, match=f"Unknown setting: '{given}': "):
        setting_name(given)


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("nginx_command", "nginx -p '/srv/a b'", 'nginx_command = ["nginx", "-p", "/srv/a b"]\n'),
        ("nginx_dir", "/srv/nginx", 'nginx_dir = "/srv/nginx"\n'),
        ("migration_max_hold_seconds", "2.5", "migration_max_hold_seconds = 2.5\n"),
        ("log_level", "debug", 'log_level = "debug"\n'),
    ],
)
def test_text_is_kept_as_the_settings_type(
    loaded: LoadedSettings, name: str, text: str, kept: str
) -> None:
    set_setting(loaded, name, text)
    assert loaded.config_file.read_text() == kept


@pytest.mark.parametrize(
    ("name", "text"), [("port", "99999"), ("log_level", "loud"), ("migration_bandwidth_limit", "x")]
)
def test_a_value_that_does_not_fit_changes_nothing(
    loaded: LoadedSettings, name: str, text: str
) -> None:
    set_setting(loaded, "worker_concurrency", 3)
    with pytest.raises(Invalid, match=name):
        set_setting(loaded, name, text)
    assert loaded.config_file.read_text() == "worker_concurrency = 3\n"


def test_a_file_with_secrets_is_private_and_its_answer_masked(loaded: LoadedSettings) -> None:
    set_setting(loaded, "port", 1)
    assert loaded.config_file.stat().st_mode & 0o777 == 0o644
    changed = set_setting(loaded, "s3_secret_key", "open sesame")
    assert loaded.config_file.stat().st_mode & 0o777 == 0o600
    assert changed.shown == "open****"


def test_a_file_that_was_private_stays_so(loaded: LoadedSettings) -> None:
    set_setting(loaded, "port", 1)
    loaded.config_file.chmod(0o600)
    set_setting(loaded, "port", 2)
    assert loaded.config_file.stat().st_mode & 0o777 == 0o600


def test_a_wrong_change_is_undone_with_the_file_that_was_before(loaded: LoadedSettings) -> None:
    path = loaded.config_file
    for port in range(1, KEPT_FILES + 4):
        set_setting(loaded, "port", port)
    set_setting(loaded, "port", KEPT_FILES + 3)  # no change: nothing is pushed out
    kept = [path.with_name(f"{path.name}.{number}") for number in range(1, KEPT_FILES + 1)]
    found = [file.read_text() for file in kept]
    assert found == [f"port = {KEPT_FILES + 3 - number}\n" for number in range(1, KEPT_FILES + 1)]
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}
    assert sorted(path.parent.iterdir()) == sorted([path, *kept])


def test_a_refused_secret_is_not_repeated(loaded: LoadedSettings) -> None:
    with pytest.raises(Invalid) as caught:
        set_setting(loaded, "s3_secret_key", ["open", "sesame"])
    assert "sesame" not in str(caught.value)


def test_none_removes_a_setting(loaded: LoadedSettings) -> None:
    set_setting(loaded, "port", 1)
    set_setting(loaded, "port", None)
    assert loaded.config_file.read_text() == ""


def test_the_database_of_the_older_tool_becomes_an_address(loaded: LoadedSettings) -> None:
    set_setting(loaded, "DB_PATH", "/srv/app.db")
    assert 'database_url = "sqlite:////srv/app.db"' in loaded.config_file.read_text()


def test_what_is_written_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_PORT", "7000")
    before = load_settings()
    set_setting(before, "api_key", 'a "key"\\ with # and ü')
    hidden = set_setting(before, "port", 9000)
    after = load_settings()
    assert after.settings.api_key == SecretStr('a "key"\\ with # and ü')
    assert after.settings.port == 7000
    assert hidden.overridden_by == "environment"


@pytest.mark.parametrize("text", ["port = 99999\n", "port = \n", "door = 1\n"])
def test_a_whole_file_is_checked(text: str) -> None:
    with pytest.raises(Invalid):
        check_config(text, Path("config.toml"))
