"""A viewer is shown no link that would refuse: every one of every page is followed."""

import re
from html import unescape

import httpx

from docs.console_pages import PAGES
from holdfast.demo.fleet import Fleet
from tests.servers.holdfast import API_KEY, Machine

LINK = re.compile(r'href="(/[^"#]*)')
LEFT_OUT = ("/static/", "/logout")


async def a_viewer(url: str, admin: str) -> httpx.AsyncClient:
    """A viewer's browser without scripts."""
    headers = {"Authorization": f"Bearer {admin}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as api:
        made = await api.post("/api/tokens", json={"name": "looks", "role": "viewer"})
    headers = {"Authorization": f"Bearer {made.json()['token']}", "Accept": "text/html"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


async def refused_links(client: httpx.AsyncClient, pages: list[str]) -> list[str]:
    """Links of these pages, where the viewer may see them, that answer with 403."""
    found: dict[str, str] = {}
    for path in pages:
        answer = await client.get(path)
        assert answer.status_code in {200, 302, 303, 403}, path
        if answer.status_code == 200:
            links = {unescape(link) for link in LINK.findall(answer.text)}
            found |= {link: path for link in links if not link.startswith(LEFT_OUT)}
    assert len(found) > 10
    answers = {link: (await client.get(link)).status_code for link in found}
    return [f"{found[link]} links to {link}" for link, code in answers.items() if code == 403]


async def test_a_viewer_of_a_lived_in_site_is_led_nowhere_in_vain(
    fleet: Fleet, names: dict[str, str]
) -> None:
    pool = f"/api/pools/{names['off_pool']}"
    async with fleet.api() as api, await a_viewer(fleet.api_url, fleet.token) as viewer:
        before = (await api.get(pool)).json()["keepalive"]
        await api.put(f"{pool}?reload=false", json={"keepalive": before + 1})
        assert "A reload of nginx is due" in (await viewer.get("/")).text
        refused = await refused_links(viewer, [path.format(**names) for path in PAGES.values()])
        assert (await api.put(pool, json={"keepalive": before})).is_success
    assert not refused, "\n".join(refused)


async def test_a_viewer_of_an_empty_site_is_led_nowhere_in_vain(empty_machine: Machine) -> None:
    async with await a_viewer(empty_machine.url, API_KEY) as viewer:
        pages = [path for path in PAGES.values() if "{" not in path]
        refused = await refused_links(viewer, pages)
    assert not refused, "\n".join(refused)
