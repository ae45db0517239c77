"""The unmodified client of baricadr, against a real server with tiers on a real SFTP host."""

import json
import os
import subprocess
import sys
from asyncio import sleep, timeout, to_thread
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from holdfast.kernel.ports import free_port
from tests.servers.holdfast import API_KEY, KEPT, Machine
from tests.servers.sftp import SftpServer, sftp_server

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
CLIENT = Path(sys.executable).parent / "barique"
USER, PASSWORD = "anna", "a password of ten or more"
LONG_AGO = 1_500_000_000
LIMIT_SECONDS = 60.0
LARGE_BYTES = 6 * 1024 * 1024
GUEST = "127.0.0.9"
CONTENT = {
    "run1/one.fq": b"one" * 1000,
    "run1/deep/two words (1).fq": b"two" * 500,
    "run1/deep/a'b\"c.fq": b"quotes",
    "run2/three.fq": b"three",
    "notes.txt": b"notes",
}


@dataclass
class Site:
    """A server that speaks to older clients, a tree of which nothing is here, and its store."""

    machine: Machine
    host: SftpServer
    root: Path
    other_port: int

    @property
    def url(self) -> str:
        """What the client is given."""
        return f"{self.machine.url}/dropin/baricadr/"

    async def client(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the client to its end."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        env = {**kept, "HOME": str(self.machine.directory), "PYTHONWARNINGS": "ignore"}
        return await to_thread(
            subprocess.run,
            [str(CLIENT), *words],
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )

    async def told(self, *words: str) -> str:
        """What a command of the client prints that must succeed."""
        done = await self.client(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    async def json(self, *words: str) -> Any:
        """The same, of one that prints JSON."""
        return json.loads(await self.told(*words))

    async def call(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """What the server answers to a call that must succeed."""
        more.setdefault("auth", (USER, PASSWORD))
        async with httpx.AsyncClient(base_url=self.url) as client:
            answer = await client.request(method, path, json=body, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ended(self, task_id: str) -> dict[str, Any]:
        """A task at its end."""
        async with timeout(LIMIT_SECONDS):
            while True:
                task: dict[str, Any] = await self.call("GET", f"tasks/status/{task_id}")
                if task["finished"]:
                    return task
                await sleep(0.05)

    def here(self) -> set[str]:
        """Files in the tree, those in quarantine aside."""
        files = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return {str(path) for path in files if not path.parts[0].startswith(".holdfast")}

    def age(self) -> None:
        """Let everything in the tree be old."""
        for name in self.here():
            os.utime(self.root / name, (LONG_AGO, LONG_AGO))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    directory = tmp_path_factory.mktemp("dropin")
    root = directory / "tree"
    root.mkdir()
    async with sftp_server(directory / "sftp") as host:
        for name, content in CONTENT.items():
            (host.files / name).parent.mkdir(parents=True, exist_ok=True)
            (host.files / name).write_bytes(content)
        port = free_port()
        settings = {
            "HOLDFAST_DROPIN": "baricadr",
            "HOLDFAST_DROPIN_ALLOW": f"{GUEST}/32",
            "HOLDFAST_DROPIN_PORT": str(port),
        }
        machine = Machine(directory / "machine", settings)
        machine.directory.mkdir()
        with machine.serving():
            made = Site(machine, host, root, port)
            await to_thread(_furnish, made)
            yield made


def _furnish(site: Site) -> None:
    key = {"Authorization": f"Bearer {API_KEY}"}
    options = {name: site.host.options[name] for name in ("host", "port", "user", "pass")}
    store = {"name": "archive", "kind": "sftp", "root": "files", "options": options}
    tier = {"name": "data", "path": str(site.root), "store_id": 1, "freezable": True}
    tier |= {"age_days": 30, "grace_hours": 0, "bandwidth": "2M"}
    user = {"name": USER, "role": "operator", "password": PASSWORD}
    with httpx.Client(base_url=site.machine.url, headers=key, timeout=LIMIT_SECONDS) as client:
        for path, body in (("stores", store), ("tiers", tier), ("users", user)):
            client.post(f"/api/{path}", json=body).raise_for_status()


async def test_the_client_does_all_that_it_did(site: Site) -> None:
    site.machine.directory.joinpath(".barique.yml").unlink(missing_ok=True)
    answers = f"{site.url}\ny\n{USER}\n{PASSWORD}\n"
    done = await site.client("init", stdin=answers)
    assert "Ok! Everything looks good." in done.stdout + done.stderr
    await _look(site)
    await _pull(site)
    await _freeze(site)


async def _look(site: Site) -> None:
    root = str(site.root)
    assert await site.json("file", "list", root) == [{"Path": "notes.txt"}]
    below = await site.json("file", "list", f"{root}/run1/", "--max_depth", "0", "--missing")
    assert {each["Path"] for each in below} == {
        name.removeprefix("run1/") for name in CONTENT if name.startswith("run1/")
    }
    two = await site.json("file", "list", f"{root}/x/../run2", "--from_root")
    assert two == [{"Path": "run2/three.fq"}]
    (one,) = await site.json("file", "list", f"{root}/run1/one.fq", "--full")
    assert (one["Path"], one["Name"], one["Size"], one["IsDir"]) == ("one.fq",) * 2 + (3000, False)
    assert set(one) == {"Path", "Name", "Size", "MimeType", "ModTime", "IsDir"}
    stored = (site.host.files / "run1/one.fq").stat().st_mtime
    assert one["ModTime"].endswith("Z")
    moment = datetime.fromisoformat(f"{one['ModTime'][:19]}+00:00")
    assert abs(moment.timestamp() - stored) < 2
    drawn = await site.told("file", "tree", root)
    assert "two words (1).fq *" in drawn
    refused = await site.client("file", "list", "/etc")
    assert refused.returncode == 1
    assert 'Could not find baricadr repository for path "/etc/"' in refused.stdout + refused.stderr


async def _pull(site: Site) -> None:
    run = str(site.root / "run1")
    dry = await site.told("file", "pull", run, "--dry_run")
    assert (await site.ended(dry))["status"] == "finished"
    assert "one.fq" in (await site.json("task", "log", dry))["logs"]
    assert site.here() == set()
    task_id = await site.told("file", "pull", run)
    await site.ended(task_id)
    task = await site.json("task", "show", task_id)
    assert {**task, "created": 0, "started": 0, "finished": 0} == {
        "task_id": task_id,
        "type": "pull",
        "path": run,
        "status": "finished",
        "created": 0,
        "started": 0,
        "finished": 0,
        "error": None,
    }
    moments = [parsedate_to_datetime(task[name]) for name in ("created", "started", "finished")]
    assert moments == sorted(moments)
    assert task["created"].endswith(" GMT")
    assert site.here() == {name for name in CONTENT if name.startswith("run1/")}
    assert await site.json("file", "list", run, "--missing") == []
    drawn = await site.told("file", "tree", str(site.root), "--max_depth", "2")
    assert "one.fq\n" in drawn
    assert "three.fq *" in drawn


async def _freeze(site: Site) -> None:
    root = str(site.root)
    kept = await site.told("file", "freeze", root)
    assert (await site.ended(kept))["status"] == "finished"
    assert site.here() == {name for name in CONTENT if name.startswith("run1/")}
    site.age()
    (site.root / "run1/one.fq").write_bytes(b"edited, with an old date")
    os.utime(site.root / "run1/one.fq", (LONG_AGO, LONG_AGO))
    dry = await site.told("file", "freeze", root, "--dry_run")
    assert (await site.ended(dry))["status"] == "finished"
    logs = (await site.json("task", "log", dry))["logs"]
    assert "would be frozen: 'run1/deep/two words (1).fq'" in logs
    too_much = await site.ended(await site.told("file", "freeze", root))
    assert (too_much["status"], "confirm it: --force" in too_much["error"]) == ("failed", True)
    task_id = await site.told("file", "freeze", root, "--force")
    assert (await site.ended(task_id))["status"] == "finished"
    assert site.here() == {"run1/one.fq"}
    listed = await site.json("task", "list")
    known = {task["task_id"]: task["type"] for task in listed}
    assert [known[each] for each in (kept, dry, task_id)] == ["freeze"] * 3
    assert all("error" not in task for task in listed)
    removed = await site.json("task", "remove", task_id)
    assert removed == {"info": f"Task {task_id} removed.", "error": ""}
    assert (await site.json("task", "remove", task_id))["info"] == ""
    gone = {"error": "Task not found in Baricadr database. Maybe it is too old."}
    assert await site.json("task", "show", task_id) == gone
    assert len(await site.json("task", "list")) == len(listed) - 1
    zombies = await site.json("task", "zombies")
    assert await site.json("task", "show", zombies["task"]) == gone
    stored = {name: (site.host.files / name).read_bytes() for name in CONTENT}
    assert stored == CONTENT


async def test_a_task_that_is_removed_ends_at_once_and_leaves_no_half_file(site: Site) -> None:
    large = site.host.files / "large/file"
    large.parent.mkdir()
    large.write_bytes(bytes(LARGE_BYTES))
    (site.root / "large").mkdir()
    task_id = (await site.call("POST", "pull", {"path": str(site.root / "large")}))["task"]
    again = (await site.call("POST", "pull", {"path": str(site.root / "large/file")}))["task"]
    assert again == task_id
    async with timeout(LIMIT_SECONDS):
        while not list(site.root.glob(".holdfast-pull/**/*.partial")):
            await sleep(0.02)
    task = await site.call("GET", f"tasks/status/{task_id}", body={"task_id": task_id})
    assert task["status"] == "pulling"
    freeze = (await site.call("POST", "freeze", {"path": str(site.root / "large")}))["task"]
    statuses = {one["task_id"]: one["status"] for one in await site.call("GET", "tasks")}
    assert (statuses[task_id], statuses[freeze]) == ("pulling", "waiting")
    await site.call("GET", f"tasks/remove/{task_id}")
    assert (await site.ended(freeze))["status"] == "finished"
    assert list((site.root / "large").iterdir()) == []
    large.unlink()
    large.parent.rmdir()


async def test_the_other_port_has_the_same_at_its_root_and_nothing_else(site: Site) -> None:
    address = f"http://127.0.0.1:{site.other_port}"
    async with httpx.AsyncClient(base_url=address, auth=(USER, PASSWORD)) as client:
        routes = await client.get("/endpoints")
        assert routes.json() == await site.call("GET", "endpoints")
        assert (await client.get(routes.json()["version"])).json() == {"version": "0.2.1"}
        for path in ("/api/health", "/login", "/dropin/baricadr/version", "/../api/health"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    said = (site.machine.directory / "out").read_text()
    assert "HTTP/1.1" not in said
    assert PASSWORD not in said


async def test_no_login_is_asked_of_a_listed_network_whatever_a_header_says(site: Site) -> None:
    async def status(address: str, **headers: str) -> int:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(transport=transport, base_url=site.url) as client:
            return (await client.get("endpoints", headers=headers)).status_code

    assert await status(GUEST) == 200
    assert await status("127.0.0.1") == 401
    assert await status("127.0.0.1", **{"X-Forwarded-For": GUEST}) == 401
    assert await status(GUEST, **{"X-Forwarded-For": GUEST}) == 401
    assert await status(GUEST, Authorization="Basic YTpi") == 401
    assert await status(GUEST, Origin="http://elsewhere.example") == 403


async def test_a_repos_yml_is_sent_to_the_server_by_the_command(site: Site) -> None:
    folder, file = site.machine.directory / "of the older", site.machine.directory / "repos.yml"
    folder.mkdir()
    keys = "provider: Other, access_key_id: k, secret_access_key: the-older-secret"
    s3 = f"backend: s3, endpoint: 'http://127.0.0.1:9', path: bucket/a/, {keys}"
    file.write_text(
        f"{folder}: {{{s3}, freezable: yes, freeze_age: 60}}\n{folder}/absent: {{{s3}}}\n"
    )
    words = ("import", "baricadr", "--repos", str(file))
    refused = await to_thread(site.machine.run, *words)
    assert (refused.returncode, f"{folder}/absent: " in refused.stderr) == (2, True)
    file.write_text(file.read_text().partition("\n")[0])
    dry = await to_thread(site.machine.run, *words, "--dry-run")
    assert (dry.returncode, "of-the-older" in dry.stdout) == (0, True)
    assert "dry run" in dry.stderr
    done = await to_thread(site.machine.run, *words, "--json")
    (tier,) = json.loads(done.stdout)["tiers"]
    assert (tier["name"], tier["store"], tier["prefix"]) == ("of-the-older", "s3-bucket", "a")
    assert (tier["freezable"], tier["age_days"]) == (True, 60)
    said = refused.stderr + dry.stdout + dry.stderr + done.stdout + done.stderr
    assert "the-older-secret" not in said
    absent = await to_thread(site.machine.run, *words[:3], f"{file}.absent")
    assert (absent.returncode, "No such file" in absent.stderr) == (2, True)
