"""Log in, go about, log out: the cookie, what ends it, and guesses that are slowed."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.identity.model import ADDRESS_FAILURES, NAME_FAILURES
from holdfast.kernel.identity.tables import LoginFailureRow, SessionRow, UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import API_KEY, a_token, client_of, services_for
from tests.kernel.identity.people import (
    PAGE,
    PASSWORD,
    a_user,
    browser,
    log_in,
    logged_in,
    whoami,
)


async def change_sessions(services: Services, **values: Any) -> None:
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(update(SessionRow).values(**values))


async def sessions_of(services: Services) -> list[SessionRow]:
    async with services.database.read() as session:
        return list(await session.scalars(select(SessionRow).order_by(SessionRow.id)))


async def failed(services: Services, count: int, name_sha256: str, guesser: str) -> None:
    async with services.database.write(SYSTEM) as work:
        for _ in range(count):
            row = LoginFailureRow(guesser=guesser, name_sha256=name_sha256, created_at=now())
            work.session.add(row)


async def age_failures(services: Services, by: timedelta) -> None:
    moment = now() - by
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(update(LoginFailureRow).values(created_at=moment))


async def test_who_logs_in_gets_a_cookie_that_opens_pages_and_api(services: Services) -> None:
    await a_user(services)
    async with browser(services) as client:
        answer = await log_in(client, next="/web/account")
        assert (answer.status_code, answer.headers["location"]) == (303, "/web/account")
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("holdfast_session=")
        for word in ("httponly", "samesite=lax", "path=/", "max-age=28800"):
            assert word in cookie
        assert "secure" not in cookie
        assert await whoami(client) == {"name": "ann", "role": "operator"}
        assert (await client.get("/web/account", headers=PAGE)).status_code == 200


async def test_the_cookie_is_nowhere_in_the_database_audit_or_events(services: Services) -> None:
    async with logged_in(services) as client:
        value = client.cookies["holdfast_session"]
    (row,) = await sessions_of(services)
    assert value not in str({c.name: getattr(row, c.name) for c in SessionRow.__table__.columns})
    async with client_of(services) as admin:
        told = (await admin.get("/api/audit")).text
    assert '"login"' in told
    assert value not in told
    assert PASSWORD not in told


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "https, http"}]
)
async def test_behind_tls_the_cookie_never_goes_in_the_clear(
    services: Services, headers: dict[str, str]
) -> None:
    async with browser(services) as client:
        answer = await client.post("/login", data={"key": API_KEY}, headers=headers)
    assert "; secure" in answer.headers["set-cookie"].lower()


async def test_the_older_tools_clients_log_in_by_key_and_know_the_cookie_by_its_name(
    services: Services,
) -> None:
    async with browser(services) as client:
        answer = await client.post("/login", data={"key": API_KEY})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert list(client.cookies) == ["nanio_session"]
        assert await whoami(client) == {"name": "api", "role": "admin"}
        assert (await client.post("/logout")).status_code == 303
        assert await whoami(client) == 401


async def test_a_wrong_key_shows_the_page_again_with_200(services: Services) -> None:
    async with browser(services) as client:
        answer = await client.post("/login", data={"key": "wrong"})
    assert answer.status_code == 200
    assert "The key is wrong." in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_wrong_password_and_an_unknown_name_are_told_in_the_same_words(
    services: Services,
) -> None:
    await a_user(services)
    async with browser(services) as client:
        pages = [await log_in(client, "ann", "wrong"), await log_in(client, "eve", "wrong")]
        pages.append(await log_in(client, "not a name \u00e9", "wrong"))
    assert [page.status_code for page in pages] == [401, 401, 401]
    for page in pages:
        assert "The name or the password is wrong." in page.text
        assert "set-cookie" not in page.headers
    assert pages[0].text == pages[1].text.replace('value="eve"', 'value="ann"')


async def test_a_user_without_a_password_cannot_log_in_with_an_empty_one(
    services: Services,
) -> None:
    async with client_of(services) as admin:
        await admin.post("/api/users", json={"name": "ann"})
    async with browser(services) as client:
        assert (await log_in(client, "ann", "")).status_code == 401


async def test_after_logout_the_cookie_opens_nothing_even_when_it_was_kept(
    services: Services,
) -> None:
    async with logged_in(services) as client:
        kept = dict(client.cookies)
        answer = await client.post("/logout", headers=PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert not client.cookies.get("holdfast_session")
    async with browser(services) as thief:
        thief.cookies.update(kept)
        assert await whoami(thief) == 401


async def test_logout_without_a_login_is_no_error(services: Services) -> None:
    async with browser(services) as client:
        assert (await client.post("/logout")).status_code == 303


async def test_a_session_ends_when_its_time_is_over_whatever_was_asked(services: Services) -> None:
    async with logged_in(services) as client:
        await change_sessions(services, expires_at=now() - timedelta(seconds=1))
        assert await whoami(client) == 401


async def test_a_session_ends_when_nothing_was_asked_for_long(services: Services) -> None:
    async with logged_in(services) as client:
        await change_sessions(services, last_seen_at=now() - timedelta(seconds=7190))
        assert (await whoami(client))["name"] == "ann"
        await change_sessions(services, last_seen_at=now() - timedelta(seconds=7201))
        assert await whoami(client) == 401


async def test_use_is_noted_once_a_minute_and_not_with_each_request(services: Services) -> None:
    async with logged_in(services) as client:
        (before,) = await sessions_of(services)
        await whoami(client)
        (same,) = await sessions_of(services)
        assert same.last_seen_at == before.last_seen_at
        older = now() - timedelta(seconds=61)
        await change_sessions(services, last_seen_at=older)
        await whoami(client)
        (after,) = await sessions_of(services)
        assert after.last_seen_at > older


async def test_a_disabled_user_is_out_at_once(services: Services) -> None:
    async with logged_in(services) as client, client_of(services) as admin:
        assert (await admin.post("/api/users/ann/revoke")).status_code == 200
        assert await whoami(client) == 401
        assert (await log_in(client)).status_code == 401


async def test_a_changed_role_holds_from_the_next_request(services: Services) -> None:
    async with logged_in(services, role=Role.ADMIN) as client:
        assert (await client.get("/api/users")).status_code == 200
        async with services.database.write(SYSTEM) as work:
            user = await work.session.get_one(UserRow, 1)
            user.role = int(Role.VIEWER)
        assert (await whoami(client))["role"] == "viewer"
        assert (await client.get("/api/users")).status_code == 403


async def test_a_revoked_token_ends_the_session_that_it_began(services: Services) -> None:
    token = await a_token(services, Role.OPERATOR, "laptop")
    async with browser(services) as client, client_of(services) as admin:
        assert (await client.post("/login", data={"key": token})).status_code == 303
        assert await whoami(client) == {"name": "laptop", "role": "operator"}
        assert (await admin.post("/api/tokens/1/revoke")).status_code == 200
        assert await whoami(client) == 401
        assert (await admin.get("/api/sessions")).json() == []


async def test_a_changed_api_key_ends_the_sessions_that_the_old_one_began(
    services: Services,
) -> None:
    async with browser(services) as client:
        await client.post("/login", data={"key": API_KEY})
        kept = dict(client.cookies)
    for key in ("another key", ""):
        changed = services_for(services.database, services.settings.data_dir, api_key=key)
        async with browser(changed) as client:
            client.cookies.update(kept)
            assert await whoami(client) == 401


async def test_a_login_is_good_in_every_process(services: Services, database_url: str) -> None:
    other_database = Database(database_url)
    other = services_for(other_database, services.settings.data_dir)
    async with logged_in(services) as client, browser(other) as elsewhere:
        elsewhere.cookies.update(dict(client.cookies))
        assert (await whoami(elsewhere))["name"] == "ann"
        await elsewhere.post("/logout")
        assert await whoami(client) == 401
    await other_database.close()


async def test_guesses_are_counted_across_processes_and_then_refused(
    services: Services, database_url: str
) -> None:
    other_database = Database(database_url)
    other = services_for(other_database, services.settings.data_dir)
    await a_user(services)
    async with browser(services) as one, browser(other) as two:
        assert (await log_in(one, "ann", "wrong")).status_code == 401
        assert (await log_in(two, "ann", "wrong")).status_code == 401
        (row, _) = await failures_of(services)
        await failed(services, NAME_FAILURES - 2, row.name_sha256, row.guesser)
        for client in (one, two):
            refused = await log_in(client)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["retry-after"]) <= 900
            assert "Too many failed logins." in refused.text
        assert len(await failures_of(services)) == NAME_FAILURES
        assert (await log_in(one, "bob", "wrong")).status_code == 401
        await age_failures(services, timedelta(minutes=16))
        assert (await log_in(two)).status_code == 303
    await other_database.close()


async def test_an_address_that_tries_many_names_is_refused_for_all(services: Services) -> None:
    await a_user(services)
    async with browser(services) as client:
        await log_in(client, "eve", "wrong")
        (row,) = await failures_of(services)
        await failed(services, ADDRESS_FAILURES - 1, "another name", row.guesser)
        assert (await log_in(client)).status_code == 429
        assert (await client.post("/login", data={"key": API_KEY})).status_code == 429


async def test_a_login_that_succeeds_is_forgiven_its_failures(services: Services) -> None:
    await a_user(services)
    async with browser(services) as client:
        await log_in(client, "ann", "wrong")
        await log_in(client, "bob", "wrong")
        assert (await log_in(client)).status_code == 303
    assert len(await failures_of(services)) == 1


async def test_what_was_typed_into_the_field_of_the_name_is_kept_nowhere(
    services: Services,
) -> None:
    async with browser(services) as client:
        await log_in(client, "my-secret-password", "")
    async with client_of(services) as admin:
        assert "my-secret" not in (await admin.get("/api/audit")).text
    assert all("my-secret" not in row.name_sha256 for row in await failures_of(services))


async def test_a_failed_login_of_somebody_is_in_the_audit(services: Services) -> None:
    await a_user(services)
    async with browser(services) as client, client_of(services) as admin:
        await log_in(client, "ann", "wrong")
        newest = (await admin.get("/api/audit")).json()[0]
    assert (newest["action"], newest["actor"], newest["entity_type"]) == (
        "login_failed",
        "nobody",
        "user",
    )


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_a_login_sends_nobody_to_another_site(services: Services, elsewhere: str) -> None:
    await a_user(services)
    async with browser(services) as client:
        answer = await log_in(client, next=elsewhere)
    assert answer.headers["location"] == "/"


async def test_a_form_that_is_none_is_refused(services: Services) -> None:
    async with browser(services) as client:
        answers = [
            await client.post("/login", json={"key": API_KEY}),
            await client.post("/login", data={"name": "a\0b", "password": "x"}),
        ]
    assert [answer.status_code for answer in answers] == [400, 422]


async def failures_of(services: Services) -> list[LoginFailureRow]:
    async with services.database.read() as session:
        query = select(LoginFailureRow).order_by(LoginFailureRow.id)
        return list(await session.scalars(query))
