"""What baricadr kept in its repos.yml, taken over as stores and tiers: all of it, or nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.dropin import cli, importing
from holdfast.dropin.api import router
from holdfast.dropin.intervals import cron_of
from holdfast.dropin.repos import read_repositories
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Invalid, Unavailable
from holdfast.kernel.jobs.model import next_fire
from holdfast.kernel.services import Services
from holdfast.kernel.stores import api as store_api
from holdfast.kernel.stores.host_keys import HostKey
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.work import Role
from holdfast.tiers import api as tier_api
from holdfast.tiers import scan
from tests.kernel.api import API_KEY, a_token, client_of, services_for

SECRET = "s3cr3t-of-the-older-tool"
SFTP = f"backend: sftp, url: '127.0.0.1:/vault/a', user: me, password: {SECRET}"
S3 = (
    "backend: s3, provider: Other, endpoint: http://127.0.0.1:9, path: bucket/deep/, "
    f"access_key_id: k, secret_access_key: {SECRET}"
)


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> AsyncIterator[Services]:
    made = services_for(database, tmp_path / "own")
    build_hub(made)
    yield made
    await made.get(RcloneHub).stop()


@pytest.fixture
async def api(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    routers = (router, store_api.router, *tier_api.routers)
    async with client_of(services, API_KEY, *routers) as client:
        yield client


def a_folder(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "trees" / name
    path.mkdir(parents=True)
    return path


async def sent(api: httpx.AsyncClient, text: str, **query: Any) -> httpx.Response:
    return await api.post("/api/import/baricadr", json={"repos": text}, params=query)


async def made(api: httpx.AsyncClient) -> tuple[list[Any], list[Any]]:
    stores, tiers = await api.get("/api/stores"), await api.get("/api/tiers")
    return stores.json(), tiers.json()


@pytest.mark.real
async def test_all_options_are_taken_over(api: httpx.AsyncClient, tmp_path: Path) -> None:
    one, two, three = (a_folder(tmp_path, name) for name in ("one", "a two", "three"))
    text = f"""
{one}: {{{SFTP}, exclude: "*.tmp , tmp/**,{one}/x/*.bam", freezable: true, freeze_age: 30,
    auto_freeze: true, chown_uid: 1000, chown_gid: 0}}
{two}/: {{{SFTP.replace("/a", "/b")}, disable_atime_test: true}}
{three}: {{{S3}, freezable: true, auto_freeze: true, auto_freeze_interval: 10}}
"""
    dry = await sent(api, text, dry_run=True)
    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    assert await made(api) == ([], [])
    answer = await sent(api, text)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [tier["name"] for tier in told["tiers"]] == ["one", "a-two", "three"]
    assert [note.partition(": ")[0] for note in told["warnings"]] == [
        str(one),
        str(one),
        str(three),
    ]
    assert SECRET not in answer.text
    stores, tiers = await made(api)
    assert {(s["name"], s["kind"], s["root"]) for s in stores} == {
        ("sftp-127.0.0.1", "sftp", "/"),
        ("s3-bucket", "s3", "bucket"),
    }
    by_name = {tier["name"]: tier for tier in tiers}
    first = by_name["one"]
    assert first["filters"] == ["- *.tmp", "- tmp/**", "- /x/**.bam"]
    assert (first["path"], first["prefix"]) == (str(one), "vault/a")
    assert (first["freezable"], first["age_days"], first["uid"], first["gid"]) == (
        True,
        30,
        1000,
        0,
    )
    assert first["auto_freeze_cron"] == "0 3 * * 0"
    second, third = by_name["a-two"], by_name["three"]
    assert (second["freezable"], second["age_days"], second["filters"]) == (False, 180, [])
    assert (second["allow_noatime"], second["uid"]) == (True, None)
    assert (second["store_id"], second["prefix"]) == (first["store_id"], "vault/b")
    assert (third["prefix"], third["auto_freeze_cron"]) == ("deep", "0 3 */10 * *")
    await again_it_makes_what_is_new(api, text, tmp_path)


async def again_it_makes_what_is_new(api: httpx.AsyncClient, text: str, tmp_path: Path) -> None:
    stores, tiers = await made(api)
    again = (await sent(api, text)).json()
    assert [tier["name"] for tier in again["there"]] == ["one", "a-two", "three"]
    assert (again["stores"], again["tiers"], again["warnings"]) == ([], [], [])
    assert await made(api) == (stores, tiers)
    four, five = (a_folder(tmp_path, name) for name in ("four", "five"))
    more = f"{text}{four}: {{{SFTP}}}\n{five}: {{{S3.replace(SECRET, 'other')}}}\n"
    told = (await sent(api, more)).json()
    assert [(tier["name"], tier["store"]) for tier in told["tiers"]] == [
        ("four", "sftp-127.0.0.1"),
        ("five", "s3-bucket-2"),
    ]
    assert [store["name"] for store in told["stores"]] == ["s3-bucket-2"]
    elsewhere = await sent(api, text.replace("/vault/a", "/vault/elsewhere"))
    words = "is the tier 'one' already, of other files: those below 'vault/a'"
    assert (elsewhere.status_code, words in elsewhere.json()["detail"]) == (422, True)
    store = next(one for one in stores if one["kind"] == "sftp")
    reached = {"port": "9", "shell_type": "unix", "user": "other", "pass": SECRET}
    changed = await api.put(f"/api/stores/{store['id']}", json={"options": reached})
    assert changed.status_code == 200, changed.text
    still = (await sent(api, text)).json()
    assert [tier["name"] for tier in still["there"]] == ["one", "a-two", "three"]
    moved = await sent(api, text.replace("127.0.0.1:/", "127.0.0.2:/"))
    assert (moved.status_code, words in moved.text) == (422, True)


@pytest.mark.real
async def test_each_host_is_asked_once_and_all_at_a_time(
    api: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    every = asyncio.Event()

    async def scan(host: str, _: int) -> list[HostKey]:
        asked.append(host)
        if len(asked) == 3:
            every.set()
        await every.wait()
        raise Unavailable("it does not answer")

    monkeypatch.setattr(importing, "scan", scan)
    lines = [
        f"{a_folder(tmp_path, f'{host}-{user}')}: "
         "{" + SFTP.replace("127.0.0.1", host).replace("user: me", f"user: {user}") + "}"
        for host in ("one", "two", "three")
        for user in ("me", "you")
    ]  # fmt: skip
    async with asyncio.timeout(60):
        answer = await sent(api, "\n".join(lines), dry_run=True)
    assert (answer.status_code, sorted(asked)) == (200, ["one", "three", "two"])
    assert len(answer.json()["warnings"]) == 6


@pytest.mark.real
async def test_when_one_is_refused_nothing_is_made_and_each_is_named(
    api: httpx.AsyncClient, tmp_path: Path
) -> None:
    good, inner = a_folder(tmp_path, "good"), a_folder(tmp_path, "good/inner")
    (tmp_path / "link").symlink_to(good)
    text = f"""
{good}: {{{SFTP}}}
{inner}: {{{SFTP}}}
{tmp_path}/link: {{{SFTP}}}
{tmp_path}/absent: {{{SFTP}}}
"""
    answer = await sent(api, text)
    assert answer.status_code == 422
    complaints = answer.json()["details"].splitlines()
    assert [line.partition(": ")[0] for line in complaints] == [
        str(inner),
        f"{tmp_path}/link",
        f"{tmp_path}/absent",
    ]
    assert await made(api) == ([], [])
    assert SECRET not in answer.text


@pytest.mark.real
async def test_what_helps_is_named_as_the_file_has_it(
    api: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "keeps_no_atime", lambda _: True)
    text = f"{a_folder(tmp_path, 'one')}: {{{S3}, freezable: true}}"
    refused = (await sent(api, text)).json()["detail"]
    assert refused.endswith("allow it: disable_atime_test: true)")
    allowed = text.replace("}", ", disable_atime_test: true}")
    assert (await sent(api, allowed, dry_run=True)).status_code == 200


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_dry_run_trusts_no_host(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    dry_run: bool,
) -> None:
    class Client:
        def call(self, *_: object, **__: object) -> dict[str, Any]:
            store = {"name": "cold", "host_keys": ["ssh-ed25519 SHA256:x"]}
            return {"warnings": [], "there": [], "stores": [store], "tiers": []}

    monkeypatch.setattr(cli, "connect", lambda _: nullcontext(Client()))
    file = tmp_path / "repos.yml"
    file.touch()
    cli.baricadr(file, dry_run=dry_run)
    told = capsys.readouterr()
    said = "cold: would be trusted at" if dry_run else "cold: trusted at"
    assert said in told.out + told.err


async def test_only_an_admin_imports_and_only_a_text(
    services: Services, api: httpx.AsyncClient
) -> None:
    for role in (Role.VIEWER, Role.OPERATOR):
        token = await a_token(services, role)
        headers = {"Authorization": f"Bearer {token}"}
        answer = await api.post("/api/import/baricadr", json={"repos": ""}, headers=headers)
        assert answer.status_code == 403
    wrong: tuple[dict[str, Any], ...] = (
        {"repo": SECRET},
        {"repos": {"/a": SECRET}},
        {"repos": ""},
        {},
    )
    for body in (*wrong, {"repos": "x" * 2**21}):
        answer = await api.post("/api/import/baricadr", json=body)
        assert (answer.status_code, SECRET in answer.text) == (422, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("x: 1", "missing backend"),
        ("backend: ftp", "sftp or s3"),
        ("backend: [sftp]", "sftp or s3"),
        (SFTP.replace("user: me, ", ""), "Missing 'user'"),
        (SFTP.replace(SECRET, "12345"), "password is not a text"),
        (SFTP.replace(":/vault/a", ""), "host:folder"),
        (SFTP.replace(":/vault/a", ":22:/vault"), "second colon"),
        (SFTP.replace("127.0.0.1:/vault/a", "sftp://host/vault"), "no host:folder"),
        (SFTP.replace("127.0.0.1", "me@127.0.0.1"), "no host:folder"),
        (SFTP.replace("127.0.0.1", ""), "no host:folder"),
        (S3.replace("deep/", "/deep/"), "two slashes"),
        (S3.replace("deep/", "deep"), "does not end with a slash"),
        (S3.replace("bucket/deep/", "bucket"), "does not end with a slash"),
        (S3.replace("provider: Other, ", ""), "Missing 'provider'"),
        (f"{SFTP}, provider: Other", "unknown option provider"),
        (f"{SFTP}, freeze-age: 5", "unknown option freeze-age"),
        (f"{SFTP}, freezable: 'true'", "freezable is neither"),
        (f"{SFTP}, freeze_age: 1", "freeze_age is not a number from 2 to 10000"),
        (f"{SFTP}, freeze_age: true", "freeze_age is not a number"),
        (f"{SFTP}, freeze_age: 2.5", "freeze_age is not a number"),
        (f"{SFTP}, auto_freeze: true", "auto_freeze without freezable"),
        (f"{SFTP}, auto_freeze_interval: 1", "auto_freeze_interval is not a number"),
        (f"{SFTP}, chown_uid: 65537", "chown_uid is not a number from 0 to 65536"),
        (f"{SFTP}, chown_gid: root", "chown_gid is not a number"),
        (f"{SFTP}, exclude: ['*.tmp']", "exclude is not one text"),
        (f"{SFTP}, exclude: '*.{{a,b}}'", "*.{a"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_with_its_repository(options: str, words: str) -> None:
    read = read_repositories(f"/a: {{{SFTP}}}\n/data/x: {{{options}}}\n")
    (complaint,) = read.problems
    assert complaint.startswith("/data/x: ")
    assert words in complaint
    assert SECRET not in complaint
    assert [one.path for one in read.found] == ["/a"]


def test_names_that_are_no_texts_are_not_repeated() -> None:
    number = f"? 0x{'f' * 9999}"  # more digits than Python writes
    read = read_repositories(f"{number}\n: 1\n/a: {{{SFTP}, {number} : 1}}\n")
    assert read.problems == [
        "a path that is no text: the path is not absolute",
        "/a: unknown option that is no text: mend it, or take it out",
    ]


def test_a_password_that_became_a_name_is_not_repeated() -> None:
    read = read_repositories(f"password:{SECRET}: 1\n/a: {{{SFTP}, password:{SECRET}}}\n")
    assert read.problems == [
        "a path that is no name: the path is not absolute",
        "/a: unknown option that is no name: mend it, or take it out",
    ]
    with pytest.raises(Invalid, match="line 1: one that is no name stands there twice"):
        read_repositories(f"{{pass:{SECRET}, pass:{SECRET}}}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no path"),
        ("- a\n", "no path"),
        (f"/a: {{{SFTP}", "line 1, column 92: this is not YAML"),
        (f"/a: {{password: *{SECRET}}}", "line 1: a name for other text"),
        ("/a: !!python/object:os.system {}", "line 1: .* a tag"),
        ("/a: !!map [x]", "a tag"),
        ("/a: {b: !!int ''}", "a tag"),
        (f"x: &x {{{SFTP}}}\n/a:\n  <<: *x\n", "line 3: a name for other text"),
        (f"/a:\n  <<: {{{SFTP}}}\n", "line 2: << is not taken over"),
        ("2001-99-99: 1", "this is not YAML"),
        (f"/a: {{{SFTP}}}\n/a: {{{SFTP}}}\n", "line 1: /a stands there twice"),
        (f"/a: {{{SFTP}, user: other}}\n", "line 1: user stands there twice"),
        ("[" * 5000, "this is not YAML"),
    ],
)
def test_a_file_that_is_none_is_refused_without_a_word_of_it(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        read_repositories(text)
    assert SECRET not in refused.value.message


def test_a_path_that_leads_somewhere_is_refused() -> None:
    for path, words in (("a/b", "is not absolute"), ("/a/../b", "has .. in it")):
        (complaint,) = read_repositories(f"{path}: {{{SFTP}}}").problems
        assert complaint.startswith(f"{path}: the path {words}")


@pytest.mark.parametrize("days", [2, 3, 7, 10, 14, 27, 28, 30, 59, 60, 90, 180, 364, 365, 10_000])
def test_an_interval_is_a_schedule_that_runs_about_so_often(days: int) -> None:
    cron, note = cron_of(days)
    moments = [now()]
    for _ in range(8):
        moments.append(next_fire(cron, "UTC", after=moments[-1]))
    longest = max((later - sooner).days for sooner, later in pairwise(moments[1:]))
    assert longest <= days + 4
    assert bool(note) == (days != 7)
