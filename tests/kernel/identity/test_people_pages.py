"""Pages of users, tokens and everybody's sessions."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from holdfast.kernel.clock import now
from holdfast.kernel.identity import service
from holdfast.kernel.identity.tables import TokenRow, UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import a_token, client_of
from tests.kernel.identity.people import PAGE, a_user, browser, logged_in, whoami

PAGES = ("/web/users", "/web/users/new", "/web/tokens", "/web/tokens/new", "/web/sessions")


async def test_every_page_is_for_admins_alone(services: Services) -> None:
    await a_user(services)
    for role in Role:
        token = await a_token(services, role, f"of-{role.name.lower()}")
        async with client_of(services, token) as client:
            for path in (*PAGES, "/web/users/1"):
                answer = await client.get(path, headers=PAGE)
                assert answer.status_code == (200 if role is Role.ADMIN else 403), path
            menu = (await client.get("/", headers=PAGE)).text
            assert ('href="/web/users"' in menu) is (role is Role.ADMIN)


async def test_a_new_user_gets_a_link_that_is_shown_once_and_logs_in(services: Services) -> None:
    async with client_of(services) as admin, browser(services) as ann:
        made = await admin.post("/web/users/new", data={"name": "ann", "role": "operator"})
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        link = re.findall(r"http://holdfast(/setup/[\w-]+)", made.text)[0]
        for path in ("/web/users", "/web/users/1", "/web/audit"):
            assert link not in (await admin.get(path, headers=PAGE)).text
        new = "correct horse battery"
        answer = await ann.post(link, data={"password": new, "again": new}, headers=PAGE)
        assert answer.status_code == 303
        assert await whoami(ann) == {"name": "ann", "role": "operator"}


async def test_a_form_that_does_not_fit_comes_again_with_its_words(services: Services) -> None:
    async with client_of(services) as admin:
        bad = await admin.post("/web/users/new", data={"name": "<b>ann", "role": "viewer"})
        assert bad.status_code == 422
        assert "<b>ann" not in bad.text
        assert "&lt;b&gt;ann" in bad.text
        token = {"name": "ci", "role": "viewer", "expires_in": "soon"}
        bad = await admin.post("/web/tokens/new", data=token)
        assert bad.status_code == 422
        assert 'aria-invalid="true"' in bad.text


async def test_a_token_is_shown_once_and_opens_the_door(services: Services) -> None:
    async with client_of(services) as admin:
        given = {"name": "robot", "role": "operator", "expires_in": "86400", "user": ""}
        made = await admin.post("/web/tokens/new", data=given)
        text = re.findall(r"holdfast_[\w-]{40,}", made.text)[0]
        listed = (await admin.get("/web/tokens", headers=PAGE)).text
        assert text not in listed
        assert text[:13] in listed
        async with client_of(services, text) as robot:
            assert await whoami(robot) == {"name": "robot", "role": "operator"}
            wrong = await admin.post("/web/tokens/1/revoke", data={"confirm": "robots"})
            assert wrong.status_code == 422
            assert (await whoami(robot))["name"] == "robot"
            assert (await admin.post("/web/tokens/1/revoke", data={"confirm": "robot"})).is_redirect
            assert await whoami(robot) == 401
        assert "revoked" in (await admin.get("/web/tokens?state=revoked", headers=PAGE)).text


async def test_an_expired_token_is_shown_as_such_and_told_when_it_was_in_use(
    services: Services,
) -> None:
    await a_token(services, Role.VIEWER, "old-robot")
    await a_token(services, Role.VIEWER, "fine-robot")
    used = now() - timedelta(hours=2)
    over = update(TokenRow).where(TokenRow.name == "old-robot")
    async with services.database.write(SYSTEM) as work:
        moment = now() - timedelta(hours=1)
        await work.session.execute(over.values(expires_at=moment, last_used_at=used))
    async with client_of(services) as admin:
        expired = (await admin.get("/web/tokens?state=expired", headers=PAGE)).text
        assert "old-robot" in expired
        assert "fine-robot" not in expired
        assert ">expired<" in expired
        assert "Token old-robot has ended" in (await admin.get("/", headers=PAGE)).text


async def test_a_role_changes_at_once_but_nobody_changes_their_own(services: Services) -> None:
    async with (
        logged_in(services, "ann", Role.ADMIN) as ann,
        logged_in(services, "bob", Role.VIEWER) as bob,
    ):
        assert (await ann.post("/web/users/2/role", data={"role": "admin"})).is_redirect
        assert (await whoami(bob))["role"] == "admin"
        own = await bob.post("/web/users/2/role", data={"role": "viewer"})
        assert own.status_code == 409
        assert (await bob.post("/web/users/2/disable", data={"confirm": "bob"})).is_error
        assert (await whoami(bob))["role"] == "admin"


async def test_the_last_admin_stays_one(services: Services) -> None:
    await a_user(services, "ann", Role.ADMIN)
    async with client_of(services) as by_key:
        assert (await by_key.post("/web/users/1/role", data={"role": "viewer"})).status_code == 409
        gone = await by_key.post("/web/users/1/disable", data={"confirm": "ann"})
        assert gone.status_code == 409
    async with services.database.read() as session:
        user = await session.get(UserRow, 1)
        assert user is not None
        assert (user.role, user.disabled_at) == (Role.ADMIN, None)


async def test_a_disabled_user_is_out_until_enabled(services: Services) -> None:
    async with logged_in(services, "ann") as ann, client_of(services) as admin:
        wrong = await admin.post("/web/users/1/disable", data={"confirm": "anna"})
        assert wrong.status_code == 422
        assert (await whoami(ann))["name"] == "ann"
        assert (await admin.post("/web/users/1/disable", data={"confirm": "ann"})).is_redirect
        assert await whoami(ann) == 401
        assert "Enable" in (await admin.get("/web/users/1", headers=PAGE)).text
        assert (await admin.post("/web/users/1/enable")).is_redirect
        assert (await admin.post("/web/users/1/link")).status_code == 200


async def test_an_admin_ends_anybodys_session(services: Services) -> None:
    async with logged_in(services, "ann") as ann, client_of(services) as admin:
        assert "ann" in (await admin.get("/web/sessions?q=AN&sort=-name", headers=PAGE)).text
        assert (await admin.post("/web/sessions/1/end")).is_redirect
        assert await whoami(ann) == 401


@pytest.mark.parametrize("path", ["/web/users", "/web/tokens"])
async def test_lists_are_searched_sorted_and_paged(services: Services, path: str) -> None:
    async with services.database.write(SYSTEM) as work:
        for number in range(60):
            name = f"one_{number:02}"
            await service.create_user(work, name=name, role=Role.VIEWER)
            await service.create_token(work, name=name, role=Role.VIEWER)
    async with client_of(services) as admin:
        first = (await admin.get(f"{path}?sort=name", headers=PAGE)).text
        assert "one_00" in first
        assert "one_59" not in first
        assert "one_59" in (await admin.get(f"{path}?sort=-name", headers=PAGE)).text
        assert "one_59" in (await admin.get(f"{path}?sort=name&page=2", headers=PAGE)).text
        found = (await admin.get(f"{path}?q=one_42", headers=PAGE)).text
        assert "one_42" in found
        assert "one_41" not in found
        assert "one_42" not in (await admin.get(f"{path}?q=one%2542", headers=PAGE)).text


async def test_the_search_finds_people_and_tokens_for_admins_alone(services: Services) -> None:
    await a_user(services, "ann")
    token = await a_token(services, Role.OPERATOR, "annex")
    async with client_of(services) as admin, client_of(services, token) as operator:
        found = (await admin.get("/web/search?q=ann", headers=PAGE)).text
        assert "/web/users/1" in found
        assert "/web/tokens?q=annex" in found
        hidden = (await operator.get("/web/search?q=ann", headers=PAGE)).text
        assert "/web/users/1" not in hidden
        assert "/web/tokens" not in hidden


async def test_no_two_parts_of_a_users_page_have_the_same_id(services: Services) -> None:
    async with logged_in(services, "ann", Role.ADMIN) as ann:
        assert (await ann.post("/api/tokens", json={"name": "a", "user": "ann"})).is_success
        shown = (await ann.get("/web/users/1", headers=PAGE)).text
    ids = re.findall(r'\sid="([^"]+)"', shown)
    assert {"token-rows", "session-rows"} <= set(ids)
    assert len(ids) == len(set(ids))
