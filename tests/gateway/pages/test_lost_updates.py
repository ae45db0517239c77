"""An edit form whose subject changed meanwhile reverts nothing: 409, and what was typed stays."""

import re
from html import unescape
from typing import Any

import pytest

from tests.gateway.pages.web import Web, words
from tests.gateway.room import Room

pytestmark = pytest.mark.real
SUBJECTS = {
    "pool": ("/web/pools/1/edit", "/pools/1"),
    "member": ("/web/pools/1/members/1/edit", "/pools/1/members/1"),
    "vhost": ("/web/vhosts/1/edit", "/vhosts/1"),
    "route": ("/web/vhosts/1/routes/2/edit", "/vhosts/1/routes/2"),
}


@pytest.fixture
async def filled(quick_room: Room) -> Room:
    """One of each, with number 1; number 1 of the routes is the default pool's."""
    pool = await quick_room.pool("one", "127.0.0.1:9001")
    await quick_room.vhost(pool)
    await quick_room.route(1, "/photos/", pool)
    return quick_room


def the_form(page: str) -> tuple[str, dict[str, Any]]:
    """Where a browser would send the page's form, and what, with nothing typed."""
    tag, _, rest = page.partition('<form class="form"')[2].partition(">")
    fields: dict[str, Any] = {}
    for found in re.finditer(
        r'<(input|select|textarea)([^>]*) name="([^"]+)"([^>]*)>([^<]*)',
        rest.partition("</form>")[0],
    ):
        kind, before, name, after, text = found.groups()
        attributes = before + after
        value = re.search(r'value="([^"]*)"', attributes)
        if kind == "textarea":
            fields[name] = text
        elif kind == "select":
            chosen = re.search(r'value="([^"]*)" selected', rest[found.start() :])
            fields[name] = chosen[1] if chosen else ""
        elif 'type="checkbox"' not in attributes or " checked" in attributes:
            fields[name] = unescape(value[1]) if value else ""
    return unescape(re.findall(r'action="([^"]+)"', tag)[0]), fields


@pytest.mark.parametrize("noun", SUBJECTS)
async def test_a_form_that_was_open_while_another_changed_it_reverts_nothing(
    web: Web, filled: Room, noun: str
) -> None:
    page, api = SUBJECTS[noun]
    action, typed = the_form(await web.get(page))
    await filled.ok("PUT", api, description="changed by the API")
    typed["description"] = "typed by a person"
    answer = await web.post(action, status=409, **typed)
    assert (await filled.ok("GET", api))["description"] == "changed by the API"
    assert "typed by a person" in answer.text.partition("<form")[2]
    said = words(answer.text)
    assert re.search(r"While the form was open, [\w-]+ changed this, at 2\d{3}-", said)
    assert "Comment: changed by the API is kept now, typed by a person stands here" in said


@pytest.mark.parametrize("noun", SUBJECTS)
async def test_who_read_what_goes_away_may_save_again(web: Web, filled: Room, noun: str) -> None:
    page, api = SUBJECTS[noun]
    action, typed = the_form(await web.get(page))
    await filled.ok("PUT", api, description="changed by the API")
    typed["description"] = "typed by a person"
    again, kept = the_form((await web.post(action, status=409, **typed)).text)
    await web.post(again, **kept)
    assert (await filled.ok("GET", api))["description"] == "typed by a person"


async def test_a_wrong_value_does_not_renew_what_the_form_was_drawn_from(
    web: Web, filled: Room
) -> None:
    action, typed = the_form(await web.get("/web/pools/1/members/1/edit"))
    await filled.ok("PUT", "/pools/1/members/1", weight=7)
    wrong = await web.post(action, status=422, **typed | {"weight": "heavy"})
    again, _ = the_form(wrong.text)
    await web.post(again, status=409, **typed)
    assert (await filled.ok("GET", "/pools/1/members/1"))["weight"] == 7


async def test_a_form_that_nobody_crossed_is_saved(web: Web, filled: Room) -> None:
    for page, api in SUBJECTS.values():
        action, typed = the_form(await web.get(page))
        typed["description"] = "rack 4"
        await web.post(action, **typed)
        assert (await filled.ok("GET", api))["description"] == "rack 4"
