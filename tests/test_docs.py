"""The documentation: what it loads, and whether its commands do what it says."""

import asyncio
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from holdfast.demo.fleet import BUCKET, NO_TLS, Fleet, running_fleet
from holdfast.demo.main import console_link
from holdfast.demo.tier import PREFIX, tell_story
from holdfast.kernel.ports import free_port
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from tests.doc_blocks import blocks, missing_lines

ROOT = Path(__file__).parent.parent
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if blocks(page)]
PAGE_SECONDS = 240
PORT = "8081"
"""A port that pages give to a vhost of the reader's; a free one stands in for it."""
BREAK = "=== next block ==="
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//"""
    r"""|<link[^>]*rel=["']?(?:stylesheet|preconnect|preload)[^>]*(?:https?:)?//"""
    r"""|(?:@import|url\()\s*["']?(?:https?:)?//"""
)


@pytest.mark.real
def test_the_site_loads_nothing_from_another_host(tmp_path: Path) -> None:
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    subprocess.run(mkdocs, cwd=ROOT, check=True, timeout=120)
    built = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert len(built) > 10
    assert not [str(path) for path in built if LOADED.search(path.read_text())]


def test_a_marked_block_is_found_with_its_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nno\n```\n<!-- test -->\n```bash\necho a\n```\n\n"
        "<!-- output -->\n```text\na\n```\n<!-- test -->\n```bash\ntrue\n```\n"
    )
    assert [(b.line, b.commands, b.output) for b in blocks(page)] == [
        (4, "echo a\n", "a\n"),
        (13, "true\n", ""),
    ]


def test_said_lines_are_looked_for_in_order_and_dots_stand_for_anything() -> None:
    printed = "first 12 ms\nsecond\nthird"
    assert not list(missing_lines("first ... ms\n\nthird", printed))
    assert list(missing_lines("third\nfirst ...", printed)) == ["first ..."]
    assert list(missing_lines("sec", printed)) == ["sec"]


@pytest.mark.real
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    async with running_fleet(tmp_path / "fleet") as fleet:
        if page.parent.name == "tutorial":
            await opens_the_console(await console_link(fleet))
        printed = await asyncio.to_thread(run_blocks, page, fleet, tmp_path)
        if page.parent.name == "tutorial":
            await keeps_a_folder_small(fleet)
    for block, text in zip(blocks(page), printed, strict=True):
        missing = list(missing_lines(block.output, text))
        assert not missing, f"{page}:{block.line} printed:\n{text}"


async def keeps_a_folder_small(fleet: Fleet) -> None:
    """What the demo tells of a tier after its move."""
    async with S3Client(fleet.s3_url, fleet.access_key, fleet.secret_key) as s3:
        with suppress(S3Error):
            await s3.create_bucket(BUCKET)
        for number in range(5):
            await s3.put(BUCKET, f"{PREFIX}/{number}.jpg", os.urandom(500))
    story = await asyncio.to_thread(tell_story, fleet)
    assert (story.pulled, story.frozen, story.back, story.good) == (5, 4, 4, True)
    assert story.kept == {"another content on the store": 1}


async def opens_the_console(link: str) -> None:
    """The link that the demo prints leads its reader to the console, once."""
    address, password = link.partition("/setup/")[0], "four random words here"
    async with httpx.AsyncClient(base_url=address, verify=NO_TLS) as browser:
        assert "password" in (await browser.get(link)).raise_for_status().text
        sent = await browser.post(link, data={"password": password, "again": password})
        shown = await browser.get(sent.headers["location"])
        assert (sent.status_code, shown.status_code) == (303, 200), sent.text
        assert "Log out" in shown.text
        assert (await browser.get(link)).status_code == 404


def run_blocks(page: Path, fleet: Fleet, directory: Path) -> list[str]:
    """What each block of the page prints when all run in one shell, as a reader would run them."""
    script = f"printf '{BREAK}'\n".join(block.commands for block in blocks(page))
    script = script.replace(PORT, str(free_port()))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin",
        "HOME": str(directory),
        "HOLDFAST_URL": fleet.api_url,
        "HOLDFAST_TOKEN": fleet.token,
        "HOLDFAST_DATA_DIR": str(fleet.directory / "holdfast"),
        "S3_URL": fleet.s3_url,
        "S3_KEYS": f"{fleet.access_key}:{fleet.secret_key}",
        "COLUMNS": "120",
    }
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PAGE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{page} stopped with {ran.returncode}:\n{ran.stdout}"
    return ran.stdout.split(BREAK)
