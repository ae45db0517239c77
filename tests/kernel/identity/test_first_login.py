"""The first login on a new server, and the commands about logins: the real program."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers.holdfast import API_KEY, Machine

pytestmark = pytest.mark.real
LINK = re.compile(r"http://127\.0\.0\.1:\d+/setup/[\w-]+")
PASSWORD = "four random words here"


def links(machine: Machine) -> list[str]:
    """Every link that its servers have printed."""
    return LINK.findall((machine.directory / "out").read_text())


@contextlib.contextmanager
def set_password(link: str) -> Iterator[httpx.Client]:
    """A browser that has used a link."""
    with httpx.Client(base_url=link.partition("/setup/")[0]) as client:
        answer = client.post(link, data={"password": PASSWORD, "again": PASSWORD})
        assert answer.status_code == 303, answer.text
        yield client


@pytest.mark.parametrize("api_key", ["", API_KEY])
def test_a_new_server_prints_one_link_that_logs_the_first_admin_in(
    tmp_path: Path, api_key: str
) -> None:
    machine = Machine(tmp_path, {"HOLDFAST_API_KEY": api_key, "HOLDFAST_LOG_LEVEL": "debug"})
    with machine.serving("--no-worker"):
        (replaced,) = links(machine)
    with machine.serving("--no-worker"):
        (_, link) = links(machine)
        assert link != replaced
        assert httpx.get(replaced).status_code == 404
        with set_password(link) as client:
            assert client.get("/api/whoami").json() == {"name": "admin", "role": "admin"}
            audit = client.get("/api/audit").text
        assert link.rpartition("/")[2] not in audit
    with machine.serving("--no-worker"):
        assert len(links(machine)) == 2


def test_a_login_outlives_a_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with contextlib.ExitStack() as kept:
        with machine.serving("--no-worker"):
            client = kept.enter_context(set_password(links(machine)[0]))
        with machine.serving("--no-worker"):
            assert client.get("/api/whoami").json()["name"] == "admin"


def test_commands_make_links_and_list_and_end_sessions(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("user", "create", "ann", "--role", "operator").returncode == 0
    made = machine.run("user", "link", "ann")
    link = made.stdout.strip()
    assert LINK.fullmatch(link)
    assert link not in made.stderr
    elsewhere = machine.run("user", "link", "ann", "--url", "https://holdfast.example/", "--json")
    link = json.loads(elsewhere.stdout)["link"]
    assert link.startswith("https://holdfast.example/setup/")
    assert machine.run("user", "link", "eve").returncode == 4
    with machine.serving("--no-worker"):
        assert not links(machine)
        path = link.removeprefix("https://holdfast.example")
        with set_password(f"{machine.url}{path}") as client:
            (session,) = json.loads(machine.run("session", "list", "--json").stdout)
            assert (session["name"], session["method"]) == ("ann", "link")
            assert machine.run("session", "list", "--name", "bob", "--json").stdout.strip() == "[]"
            assert machine.run("session", "end", str(session["id"])).returncode == 0
            assert client.get("/api/whoami").status_code == 401
        assert machine.run("session", "end", "99").returncode == 4
