"""Commands that need no server, and those that say that they do."""

import json
import resource
import subprocess
import sys
import time

import pytest

from holdfast.kernel.jobs.lease import data_directory_held
from tests.servers.holdfast import PROGRAM, Machine

pytestmark = pytest.mark.real

SERVER_PARTS = ("dbos", "sqlalchemy", "fastapi", "alembic")


def test_help_is_quick_and_imports_nothing_of_the_server() -> None:
    code = (
        "import sys; from holdfast.cli import run; run(['pool', 'create', '--help']);"
        f"print([m for m in {SERVER_PARTS} + ('httpx', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_less_than_half_a_second_of_work() -> None:
    """Measured as processor time: a busy machine says nothing about us."""

    def used() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([*PROGRAM, "--help"], check=True, capture_output=True, timeout=60)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    assert min(used() for _ in range(3)) < 0.5


def test_without_a_server_the_exit_code_is_6(machine: Machine) -> None:
    done = machine.run("pool", "list")
    assert done.returncode == 6
    assert machine.url in done.stderr
    assert "hint:" in done.stderr


def test_a_token_is_made_and_revoked_without_a_server(machine: Machine) -> None:
    made = machine.run("token", "create", "ci", "--role", "operator", "--expires-in", "30d")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("holdfast_")
    assert len(made.stdout.splitlines()) == 1
    (listed,) = json.loads(machine.run("token", "list", "--json").stdout)
    assert (listed["name"], listed["role"]) == ("ci", "operator")
    assert made.stdout.strip() not in json.dumps(listed)
    assert machine.run("token", "revoke", str(listed["id"])).returncode == 0
    assert json.loads(machine.run("token", "list", "--json").stdout)[0]["revoked_at"]
    assert machine.run("token", "revoke", "99").returncode == 4


def test_a_token_may_live_for_a_second_however_slow_the_machine(machine: Machine) -> None:
    made = machine.run("token", "create", "brief", "--expires-in", "1", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["expires_at"]
    for text in ("1y", "s", "-1s", "9" * 30 + "d"):
        refused = machine.run("token", "create", "brief", f"--expires-in={text}")
        assert refused.returncode == 2, refused.stderr


def test_a_user_is_added_and_revoked_without_a_server(machine: Machine) -> None:
    words = ("user", "create", "ann", "--role", "admin", "--password")
    assert machine.run(*words, stdin="correct horse battery\n").returncode == 0
    assert machine.run("user", "create", "ann").returncode == 1
    assert machine.run("user", "create", "bob", "--role", "king").returncode == 2
    assert machine.run("user", "revoke", "ann").returncode == 0
    (ann,) = json.loads(machine.run("user", "list", "--json").stdout)
    assert (ann["has_password"], bool(ann["disabled_at"])) == (True, True)
    assert machine.run("user", "enable", "ann").returncode == 0
    assert machine.run("user", "update", "ann", "--role", "viewer").returncode == 1  # the last one
    assert machine.run("user", "create", "bob", "--role", "admin").returncode == 0
    assert machine.run("user", "update", "ann", "--role", "viewer").returncode == 0
    ann, _ = json.loads(machine.run("user", "list", "--json").stdout)
    assert (ann["role"], ann["disabled_at"]) == ("viewer", None)


def test_settings_are_shown_with_their_origin_and_without_secrets(machine: Machine) -> None:
    rows = json.loads(machine.run("config", "show", "--json").stdout)
    by_name = {row["setting"]: row for row in rows}
    assert by_name["port"] == {
        "setting": "port",
        "value": machine.port,
        "origin": "environment",
    }
    assert by_name["worker_concurrency"]["origin"] == "default"
    assert by_name["api_key"]["value"].endswith("****")


def test_a_setting_is_written_read_and_refused(machine: Machine) -> None:
    assert machine.run("config", "set", "migration-transfers", "7").returncode == 0
    assert machine.run("config", "get", "migration_transfers").stdout == "7\n"
    assert machine.run("config", "get", "NANIO_ORCHESTRATOR_MIGRATION_TRANSFERS").stdout == "7\n"
    assert machine.run("config", "set", "migration_transfers", "many").returncode == 2
    assert machine.run("config", "get", "migration_transfers").stdout == "7\n"
    assert machine.run("config", "get", "no_such_thing").returncode == 1
    assert machine.run("config", "set", "no_such_thing", "7").returncode == 1
    file = machine.directory / "data" / "config.toml"
    assert file.read_text() == "migration_transfers = 7\n"
    assert machine.run("config", "unset", "migration_transfers").returncode == 0
    assert file.read_text() == ""


def test_a_setting_that_the_environment_hides_is_written_with_a_warning(machine: Machine) -> None:
    done = machine.run("config", "set", "port", "9000")
    assert done.returncode == 0
    assert "environment" in done.stderr


def test_a_secret_setting_comes_from_stdin_only(machine: Machine) -> None:
    assert machine.run("config", "set", "s3_secret_key", "in plain sight").returncode == 2
    assert machine.run("config", "set", "s3_secret_key", stdin="hidden away\n").returncode == 0
    file = machine.directory / "data" / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert machine.run("config", "get", "s3_secret_key").stdout == "hidd****\n"
    assert machine.run("config", "get", "s3_secret_key", "--reveal").stdout == "hidden away\n"


def test_edit_takes_over_only_what_fits(machine: Machine) -> None:
    editor = machine.directory / "editor"
    file = machine.directory / "data" / "config.toml"
    editor.write_text('#!/bin/sh\necho "worker_concurrency = 3 # enough" > "$1"\n')
    editor.chmod(0o700)
    assert machine.run("config", "edit", env={"EDITOR": str(editor)}).returncode == 0
    assert file.read_text() == "worker_concurrency = 3 # enough\n"
    editor.write_text('#!/bin/sh\necho "worker_concurrency = 0" > "$1"\n')
    refused = machine.run("config", "edit", env={"EDITOR": str(editor)})
    assert refused.returncode == 2
    assert "worker_concurrency" in refused.stderr
    assert file.read_text() == "worker_concurrency = 3 # enough\n"


def test_a_generated_secret_is_long_and_replaces_none(machine: Machine) -> None:
    printed = machine.run("config", "generate-secret").stdout.strip()
    assert len(printed) >= 43
    assert machine.run("config", "generate-secret", "--set").returncode == 0
    assert machine.run("config", "generate-secret", "--set").returncode == 2
    assert machine.run("config", "get", "secret", "--reveal").stdout.strip() != printed


def test_a_wrong_setting_is_named_with_its_origin(machine: Machine) -> None:
    done = machine.run("config", "show", env={"HOLDFAST_PORT": "door"})
    assert done.returncode == 2
    assert "'port' (from environment)" in done.stderr


def test_doctor_tells_what_is_wrong_and_what_to_do(machine: Machine) -> None:
    done = machine.run("doctor", "--json")
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert found["settings"]["verdict"] == "ok"
    assert found["nginx"]["verdict"] == "warn"
    assert all(row["remedy"] for row in found.values() if row["verdict"] != "ok")


def test_doctor_fails_when_others_may_read_the_secret(machine: Machine) -> None:
    assert machine.run("token", "create", "t").returncode == 0
    secret = machine.directory / "data" / "secret"
    secret.chmod(0o644)
    done = machine.run("doctor", "--json")
    rights = [row for row in json.loads(done.stdout) if row["check"] == "rights"]
    assert done.returncode == 1
    assert rights[0]["verdict"] == "fail"
    assert rights[0]["remedy"] == f"chmod 600 {secret}"


def test_doctor_fails_when_another_program_has_the_port(machine: Machine) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(machine.port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=machine.directory,
    ) as other:
        try:
            deadline = time.monotonic() + 20
            found: dict[str, str] = {}
            while found.get("verdict") != "fail" and time.monotonic() < deadline:
                rows = json.loads(machine.run("doctor", "--json").stdout)
                found = next(row for row in rows if row["check"] == "port")
        finally:
            other.terminate()
    assert "another program" in found["detail"]


def test_files_for_nginx_are_tested_without_a_server(machine: Machine) -> None:
    with machine.serving():
        assert machine.run("pool", "create", "a").returncode == 0
    tested = machine.run("config", "validate")
    assert tested.returncode == 0, tested.stderr + tested.stdout
    assert "successful" in tested.stdout
    live = machine.directory / "data" / "nginx" / "live" / "http.conf"
    live.write_text(live.read_text() + "\nnonsense;\n")
    refused = machine.run("config", "validate")
    assert refused.returncode == 1
    assert "nonsense" in refused.stdout
    drifted = machine.run("config", "status")
    assert drifted.returncode == 3, drifted.stderr
    assert "warning: nothing is live" in drifted.stderr


def test_a_backup_is_made_checked_and_restored_by_commands(machine: Machine) -> None:
    with machine.serving():
        assert machine.run("pool", "create", "before").returncode == 0
        made = json.loads(machine.run("backup", "create", "--json").stdout)
        assert machine.run("pool", "create", "after").returncode == 0
        refused = machine.run("backup", "restore", made["name"])
        assert refused.returncode == 1
        assert "in use" in refused.stderr
    assert machine.run("backup", "restore", made["name"], "--check").returncode == 0
    assert [b["name"] for b in json.loads(machine.run("backup", "list", "--json").stdout)] == [
        made["name"]
    ]
    done = machine.run("backup", "restore", "latest", "--json")
    assert done.returncode == 0, done.stderr
    assert "sealing secret" not in done.stderr
    (machine.directory / "data" / "secret").unlink()
    done = machine.run("backup", "restore", made["name"], "--json")
    assert "no sealing secret" in done.stderr
    assert machine.run("backup", "restore", "yesterday").returncode == 4


@pytest.mark.parametrize("host", ["", "127.0.0.1", "localhost"])
def test_the_database_is_rebuilt_without_a_server_whichever_way_it_is_named(
    machine: Machine, host: str
) -> None:
    more = {"HOLDFAST_URL": f"http://{host}:{machine.port}"} if host else {}
    ended = machine.run("rebuild", "--json", env=more)
    assert ended.returncode == 0, ended.stderr
    assert "no server runs here" in ended.stderr
    assert json.loads(ended.stdout)["pools_imported"] == 0


def test_nothing_is_rebuilt_behind_a_server_that_does_not_answer(machine: Machine) -> None:
    with data_directory_held(machine.directory / "data"):
        refused = machine.run("rebuild")
        shown = machine.run("rebuild", env={"HOLDFAST_URL": "http://192.0.2.1:9"})
    assert refused.returncode == 1, refused.stderr
    assert "but does not answer here" in refused.stderr
    assert shown.returncode == 6, "the data of another machine is not here"
