"""Links that set a password: once, for a day, and for the first admin of a new server."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.identity import invitations
from holdfast.kernel.identity.tables import InvitationRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import client_of
from tests.kernel.identity.people import PAGE, a_user, browser, log_in, logged_in, whoami

CHOSEN = "four random words here"


async def a_link(services: Services, name: str = "ann") -> str:
    """The path of a link for this user."""
    async with client_of(services) as admin:
        made = await admin.post(f"/api/users/{name}/link")
    assert made.status_code == 201
    link: str = made.json()["link"]
    assert link.startswith("http://holdfast/setup/")
    return link.removeprefix("http://holdfast")


async def use(
    client: httpx.AsyncClient, link: str, password: str = CHOSEN, again: str = ""
) -> httpx.Response:
    """Send the form of a link's page."""
    form = {"password": password, "again": again or password}
    return await client.post(link, data=form, headers=PAGE)


async def test_a_link_sets_a_password_and_logs_in(services: Services) -> None:
    async with client_of(services) as admin:
        await admin.post("/api/users", json={"name": "ann", "role": "operator"})
    link = await a_link(services)
    async with browser(services) as client:
        shown = await client.get(link, headers=PAGE)
        assert shown.status_code == 200
        assert 'value="ann"' in shown.text
        answer = await use(client, link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert await whoami(client) == {"name": "ann", "role": "operator"}
    async with browser(services) as client:
        assert (await log_in(client, password=CHOSEN)).status_code == 303


async def test_a_link_works_once(services: Services) -> None:
    await a_user(services)
    link = await a_link(services)
    async with browser(services) as client, browser(services) as thief:
        assert (await use(client, link)).status_code == 303
        assert (await thief.get(link, headers=PAGE)).status_code == 404
        assert (await use(thief, link, "the password of a thief")).status_code == 404
        assert not thief.cookies
        assert (await log_in(thief, password="the password of a thief")).status_code == 401


async def test_looking_at_a_link_and_mistyping_do_not_use_it_up(services: Services) -> None:
    await a_user(services)
    link = await a_link(services)
    async with browser(services) as client:
        assert (await client.get(link)).status_code == 200
        assert (await use(client, link, CHOSEN, "something else")).status_code == 422
        assert (await use(client, link, "short")).status_code == 422
        assert (await use(client, link)).status_code == 303


async def test_a_link_runs_out(services: Services) -> None:
    await a_user(services)
    link = await a_link(services)
    async with services.database.write(SYSTEM) as work:
        past = now() - timedelta(seconds=1)
        await work.session.execute(update(InvitationRow).values(expires_at=past))
    async with browser(services) as client:
        assert (await use(client, link)).status_code == 404


async def test_a_newer_link_makes_the_older_void(services: Services) -> None:
    await a_user(services)
    older, newer = await a_link(services), await a_link(services)
    async with browser(services) as client:
        assert (await use(client, older)).status_code == 404
        assert (await use(client, newer)).status_code == 303


async def test_a_link_ends_the_logins_of_its_user_alone(services: Services) -> None:
    async with logged_in(services, "ann") as ann, logged_in(services, "bob") as bob:
        link = await a_link(services)
        assert (await whoami(ann))["name"] == "ann"
        async with browser(services) as client:
            await use(client, link)
        assert await whoami(ann) == 401
        assert (await whoami(bob))["name"] == "bob"


async def test_a_disabled_user_gets_no_link_and_an_old_one_is_void(services: Services) -> None:
    await a_user(services)
    link = await a_link(services)
    async with client_of(services) as admin, browser(services) as client:
        await admin.post("/api/users/ann/revoke")
        assert (await use(client, link)).status_code == 404
        assert (await admin.post("/api/users/ann/link")).status_code == 409
        assert (await admin.post("/api/users/nobody/link")).status_code == 404


async def test_a_link_is_kept_as_a_hash_and_told_nowhere(services: Services) -> None:
    await a_user(services)
    secret = (await a_link(services)).rpartition("/")[2]
    async with services.database.read() as session:
        row = await session.get_one(InvitationRow, 1)
    columns = InvitationRow.__table__.columns
    assert secret not in str([getattr(row, column.name) for column in columns])
    async with client_of(services) as admin:
        assert secret not in (await admin.get("/api/audit")).text


async def test_a_link_is_for_admins_to_make(services: Services) -> None:
    async with logged_in(services, role=Role.OPERATOR) as client:
        assert (await client.post("/api/users/ann/link")).status_code == 403


@pytest.mark.parametrize("secret", ["x", "%00", "..", "a" * 3000, "%2e%2e%2flogin"])
async def test_a_made_up_link_opens_nothing(services: Services, secret: str) -> None:
    await a_user(services)
    async with browser(services) as client:
        answer = await client.get(f"/setup/{secret}", headers=PAGE)
    assert answer.status_code in {302, 404, 422}
    assert "New password" not in answer.text


async def test_a_new_server_has_a_link_for_its_first_admin(services: Services) -> None:
    secret = await invitations.first_link(services.database)
    async with browser(services) as client:
        assert (await use(client, f"/setup/{secret}")).status_code == 303
        assert await whoami(client) == {"name": "admin", "role": "admin"}
    assert await invitations.first_link(services.database) is None


async def test_a_start_before_the_first_link_was_used_replaces_it(
    services: Services, database_url: str
) -> None:
    first = await invitations.first_link(services.database)
    other = Database(database_url)
    second = await invitations.first_link(other)
    await other.close()
    async with browser(services) as client:
        assert (await use(client, f"/setup/{first}")).status_code == 404
        assert (await use(client, f"/setup/{second}")).status_code == 303
    async with client_of(services) as admin:
        assert [user["name"] for user in (await admin.get("/api/users")).json()] == ["admin"]


async def test_a_server_with_users_of_its_own_gives_no_first_link(services: Services) -> None:
    async with client_of(services) as admin:
        await admin.post("/api/users", json={"name": "admin", "role": "admin"})
    assert await invitations.first_link(services.database) is None
