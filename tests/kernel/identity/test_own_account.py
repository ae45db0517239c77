"""Sessions listed and ended, by oneself and by an admin; one's own password."""

import re

import pytest

from holdfast.kernel.services import Services
from holdfast.kernel.work import Role
from tests.kernel.api import API_KEY, client_of
from tests.kernel.identity.people import (
    PAGE,
    PASSWORD,
    browser,
    log_in,
    logged_in,
    whoami,
)

CHOSEN = "another password"


async def test_everybody_sees_and_ends_their_own_sessions(services: Services) -> None:
    async with logged_in(services, "ann") as ann, logged_in(services, "bob") as bob:
        async with browser(services) as again:
            await log_in(again, "ann")
            listed = (await ann.get("/api/me/sessions")).json()
            assert [(one["id"], one["current"]) for one in listed] == [(3, False), (1, True)]
            assert {one["method"] for one in listed} == {"password"}
            ended = await ann.post("/api/me/sessions/3/end")
            assert ended.json()["ended_at"]
            assert await whoami(again) == 401
        assert (await ann.post("/api/me/sessions/2/end")).status_code == 404
        assert (await bob.get("/api/sessions")).status_code == 403
        assert (await whoami(bob))["name"] == "bob"


async def test_all_others_are_ended_and_the_one_that_asks_stays(services: Services) -> None:
    async with logged_in(services, "ann") as ann, logged_in(services, "bob") as bob:
        async with browser(services) as again:
            await log_in(again, "ann")
            assert (await ann.post("/api/me/sessions/end-others")).json() == {"ended": 1}
            assert await whoami(again) == 401
        assert (await whoami(ann))["name"] == "ann"
        assert (await whoami(bob))["name"] == "bob"


async def test_sessions_by_key_are_no_users(services: Services) -> None:
    async with logged_in(services) as ann, browser(services) as keyed:
        await keyed.post("/login", data={"key": API_KEY})
        mine = (await keyed.get("/api/me/sessions")).json()
        assert [one["name"] for one in mine] == ["api"]
        assert (await keyed.post("/api/me/sessions/end-others")).json() == {"ended": 0}
        assert (await whoami(ann))["name"] == "ann"


async def test_an_admin_sees_and_ends_everybodys(services: Services) -> None:
    async with logged_in(services, "ann") as ann, client_of(services) as admin:
        async with logged_in(services, "bob"):
            listed = await admin.get("/api/sessions")
            assert [one["name"] for one in listed.json()] == ["bob", "ann"]
            assert listed.headers["x-total-count"] == "2"
            of_ann = (await admin.get("/api/sessions", params={"name": "ann"})).json()
            assert [one["name"] for one in of_ann] == ["ann"]
            assert "sha256" not in of_ann[0]
        assert (await admin.post("/api/sessions/1/end")).status_code == 200
        assert await whoami(ann) == 401
        assert (await admin.post("/api/sessions/99/end")).status_code == 404


async def test_a_new_password_ends_the_other_sessions_and_the_old_password(
    services: Services,
) -> None:
    async with logged_in(services) as ann, browser(services) as again:
        await log_in(again)
        body = {"current_password": PASSWORD, "new_password": CHOSEN}
        answer = await ann.post("/api/me/password", json=body)
        assert answer.json() == {"ended": 1}
        assert (await whoami(ann))["name"] == "ann"
        assert await whoami(again) == 401
        assert (await log_in(again)).status_code == 401
        assert (await log_in(again, password=CHOSEN)).status_code == 303
    async with client_of(services) as admin:
        told = (await admin.get("/api/audit")).text
    assert "set_password" in told
    assert CHOSEN not in told


@pytest.mark.parametrize(
    "body",
    [
        {"current_password": "wrong", "new_password": CHOSEN},
        {"current_password": PASSWORD, "new_password": "sesame"},
        {"current_password": PASSWORD, "new_password": "x" * 1025},
    ],
)
async def test_a_password_is_not_changed_without_the_old_one_or_to_a_bad_one(
    services: Services, body: dict[str, str]
) -> None:
    async with logged_in(services) as ann:
        answer = await ann.post("/api/me/password", json=body)
        assert answer.status_code == 422
        assert body["new_password"] not in answer.text
        assert (await log_in(ann)).status_code == 303


async def test_who_came_by_key_has_no_password_to_change(services: Services) -> None:
    body = {"current_password": PASSWORD, "new_password": CHOSEN}
    async with client_of(services) as admin:
        assert (await admin.post("/api/me/password", json=body)).status_code == 400


async def test_the_account_page_changes_the_password(services: Services) -> None:
    async with logged_in(services, role=Role.VIEWER) as ann:
        page = "/web/account/password"
        form = {"current_password": PASSWORD, "new_password": CHOSEN, "again": CHOSEN}
        shown = (await ann.get("/web/account", headers=PAGE)).text
        copied = shown.partition('data-api="POST /api/me/password"')[2].partition("</form>")[0]
        sent = re.findall(r'<input type="password"[^>]* name="(\w+)"(?![^>]*data-local)', copied)
        assert sent == ["current_password", "new_password"]
        wrong = await ann.post(page, data=form | {"current_password": "wrong"}, headers=PAGE)
        assert wrong.status_code == 422
        assert "the current password is wrong" in wrong.text
        differ = await ann.post(page, data=form | {"again": "x"}, headers=PAGE)
        assert "the two passwords differ" in differ.text
        assert CHOSEN not in differ.text
        assert (await ann.post(page, data=form, headers=PAGE)).status_code == 303
        assert (await log_in(ann, password=CHOSEN)).status_code == 303


async def test_the_account_page_ends_sessions_and_ending_ones_own_is_a_logout(
    services: Services,
) -> None:
    async with logged_in(services, role=Role.VIEWER) as ann, browser(services) as again:
        await log_in(again)
        shown = (await ann.get("/web/account", headers=PAGE)).text
        assert shown.count('action="/web/account/sessions/') == 2
        assert "this browser" in shown
        assert "/api/me/sessions/2/end" in shown
        assert "holdfast session end" not in shown, "that is for admins"
        ended = await ann.post("/web/account/sessions/2/end", headers=PAGE)
        assert ended.headers["location"] == "/web/account"
        assert await whoami(again) == 401
        own = await ann.post("/web/account/sessions/1/end", headers=PAGE)
        assert own.headers["location"] == "/login"
        assert await whoami(ann) == 401


async def test_the_account_page_of_a_token_says_that_it_has_no_session(
    services: Services,
) -> None:
    async with client_of(services) as admin:
        page = await admin.get("/web/account", headers=PAGE)
    assert page.status_code == 200
    assert "it has no session" in page.text
