"""Commands that speak to a server."""

import json
import signal
import time
from typing import Any

import httpx
import pytest

from holdfast.client.http import HoldfastClient
from holdfast.kernel.ports import free_port
from tests.servers.holdfast import API_KEY, Machine

pytestmark = pytest.mark.real


def ok(machine: Machine, *words: str, stdin: str = "") -> Any:
    """The result of a command that must succeed."""
    done = machine.run(*words, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_a_pool_lives_and_dies_by_its_name(served: Machine) -> None:
    made = ok(served, "pool", "create", "alpha", "--keepalive", "8", "--description", "first")
    assert (made["name"], made["keepalive"], made["lb_method"]) == ("alpha", 8, "least_conn")
    assert ok(served, "pool", "show", "alpha") == ok(served, "pool", "show", str(made["id"]))
    ok(served, "pool", "update", "alpha", "--name", "beta", "--no-reload")
    assert "beta" in [pool["name"] for pool in ok(served, "pool", "list")]
    ok(served, "pool", "delete", "beta", "--yes")
    assert served.run("pool", "show", "beta").returncode == 4


def test_members_vhosts_and_routes_are_called_by_their_names(served: Machine) -> None:
    ok(served, "pool", "create", "stores")
    ok(served, "member", "create", "stores", "127.0.0.1:9001", "--weight", "5")
    ok(served, "member", "update", "stores", "127.0.0.1:9001", "--no-enabled")
    assert ok(served, "member", "show", "stores", "127.0.0.1:9001")["enabled"] is False
    ok(served, "member", "update", "stores", "127.0.0.1:9001", "--enabled")
    port = str(free_port())
    ok(served, "vhost", "create", "s3.example.org", "--no-ssl", "--port", port)
    made = ok(served, "route", "create", "s3.example.org", "/photos/", "--pool", "stores")
    shown = ok(served, "route", "show", "s3.example.org", "/photos")
    assert (shown["id"], shown["pool_name"]) == (made["id"], "stores")
    ok(served, "route", "delete", "s3.example.org", "/photos/", "--yes")
    assert ok(served, "route", "list", "s3.example.org") == []
    preview = served.run("vhost", "preview", "s3.example.org")
    assert f"listen {port};" in preview.stdout
    ok(served, "vhost", "delete", "s3.example.org", "--yes")


def test_a_dry_run_changes_nothing(served: Machine) -> None:
    assert served.run("pool", "create", "only-tried", "--dry-run").returncode == 0
    assert served.run("pool", "show", "only-tried").returncode == 4


def test_a_secret_key_comes_from_stdin_and_is_never_shown(served: Machine) -> None:
    ok(served, "pool", "create", "sealed")
    words = ("credential", "set", "sealed", "--access-key", "AKIA12345678", "--json")
    stored = served.run(*words, stdin="very-secret-key\n")
    assert stored.returncode == 0, stored.stderr
    assert json.loads(stored.stdout)["access_key_masked"] == "AKIA********"
    audit = served.run("audit", "list", "--json")
    assert "very-secret-key" not in stored.stdout + stored.stderr + audit.stdout
    missing = served.run(*words)
    assert missing.returncode == 2
    assert "secret_key" in missing.stderr


def test_a_node_gets_its_user_and_the_secret_key_is_never_an_argument(served: Machine) -> None:
    ok(served, "pool", "create", "nodes")
    ok(served, "member", "create", "nodes", "127.0.0.1:9001")
    words = ("member", "node-config", "nodes", "127.0.0.1:9001", "--node-type", "nanio-only")
    assert "[[users]]" not in ok(served, *words)["files"][0]["content"]
    made = ok(served, *words, "--access-key", "AKIAX", stdin="node-secret\n")
    assert 'access_key = "AKIAX"\nsecret_key = "node-secret"' in made["files"][0]["content"]
    assert served.run(*words, "--access-key", "AKIAX").returncode == 2
    (of_member,) = ok(served, "member", "node-configs", "nodes")
    assert len(of_member["recent_configs"]) == 2
    assert "node-secret" not in str(of_member)


def test_the_health_of_a_server_is_asked_by_a_command(served: Machine) -> None:
    assert ok(served, "health")["db_ok"] is True


def test_where_nothing_is_orphaned_the_result_says_so(served: Machine) -> None:
    assert served.run("orphaned", "list").stdout == "No orphaned data found.\n"
    assert ok(served, "orphaned", "list") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pool", "list"), 0),
        (("pool", "show", "absent"), 4),
        (("pool", "create", "bad name"), 2),
        (("pool", "create"), 2),
        (("pool", "fly"), 2),
        (("pool", "list", "--height", "3"), 2),
        (("member", "create", "absent", "127.0.0.1:1"), 4),
        (("job", "show", "absent"), 4),
        (("migration", "show", "99"), 4),
    ],
)
def test_the_exit_code_tells_how_a_command_ended(
    served: Machine, words: tuple[str, ...], code: int
) -> None:
    done = served.run(*words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_conflict_is_a_failure_with_its_hint(served: Machine) -> None:
    ok(served, "pool", "create", "twice")
    done = served.run("pool", "create", "twice", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    said = json.loads(done.stderr.splitlines()[-1])
    assert (said["code"], bool(said["hint"])) == ("conflict", True)


def test_what_deletes_asks_first(served: Machine) -> None:
    ok(served, "pool", "create", "kept")
    assert served.run("pool", "delete", "kept").returncode == 2
    assert served.run("pool", "show", "kept").returncode == 0


def test_a_wrong_token_is_not_allowed(served: Machine) -> None:
    done = served.run("pool", "list", env={"HOLDFAST_TOKEN": "holdfast_wrong"})
    assert done.returncode == 5
    assert "holdfast_wrong" not in done.stderr


def test_a_viewer_may_look_and_not_touch(served: Machine) -> None:
    token = served.run("token", "create", "looker", "--role", "viewer").stdout.strip()
    assert served.run("pool", "list", env={"HOLDFAST_TOKEN": token}).returncode == 0
    assert served.run("pool", "create", "x", env={"HOLDFAST_TOKEN": token}).returncode == 5
    assert ok(served, "whoami")["role"] == "admin"


def test_results_come_in_three_forms_and_messages_beside_them(served: Machine) -> None:
    ok(served, "pool", "create", "shown")
    table = served.run("pool", "show", "shown")
    yaml = served.run("pool", "show", "shown", "-o", "yaml")
    assert table.stdout.startswith("FIELD")
    assert "name: shown" in yaml.stdout
    assert not [line for line in table.stdout.splitlines() if line != line.rstrip()]


def test_a_context_is_stored_privately_and_used(served: Machine, machine: Machine) -> None:
    machine.settings["HOLDFAST_API_KEY"] = ""
    assert machine.run("pool", "list").returncode == 6
    added = machine.run("context", "add", "site", "--url", served.url, stdin=API_KEY + "\n")
    assert added.returncode == 0, added.stderr
    file = machine.directory / ".config" / "holdfast" / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert machine.run("pool", "list").returncode == 0
    assert API_KEY not in machine.run("context", "list", "-o", "json").stdout
    machine.run("context", "remove", "site")
    assert machine.run("pool", "list", "--context", "site").returncode == 4
    assert machine.run("pool", "list").returncode == 6


def test_an_address_in_the_environment_wins_over_the_context(served: Machine) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = served.run("pool", "list", env={"HOLDFAST_URL": nowhere})
    assert done.returncode == 6
    assert nowhere in done.stderr


def test_events_arrive_as_they_happen_and_an_interrupt_ends_them(served: Machine) -> None:
    out = served.directory / "out"
    before = out.stat().st_size
    following = served.start("event", "list", "--topics", "gateway", "--json")
    deadline = time.monotonic() + 30
    seen = ""
    number = 0
    while "pool.created" not in seen and time.monotonic() < deadline:
        ok(served, "pool", "create", f"event-{number}")
        number += 1
        seen = out.read_text()[before:]
    following.send_signal(signal.SIGINT)
    assert following.wait(30) == 130
    assert '"topic": "gateway", "kind": "pool.created"' in seen


def test_the_client_goes_on_after_the_last_event_it_saw(served: Machine) -> None:
    for name in ("evented-1", "evented-2"):
        ok(served, "pool", "create", name)
    with HoldfastClient(served.url, API_KEY) as connection:
        first = next(connection.events(after="0"))
        second = next(connection.events(after=first.id))
    assert int(second.id) == int(first.id) + 1


def test_the_server_ends_soon_while_a_stream_is_open(machine: Machine) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with (
        machine.serving("--no-worker") as server,
        httpx.stream("GET", f"{machine.url}/api/events", headers=headers, timeout=30) as stream,
    ):
        assert stream.status_code == 200
        began = time.monotonic()
        server.terminate()
        assert server.wait(30) in {0, -signal.SIGTERM}
        assert time.monotonic() - began < 15
