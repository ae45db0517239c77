"""The rules of logins, as values."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.kernel.errors import Invalid
from holdfast.kernel.identity import passwords
from holdfast.kernel.identity.model import (
    ADDRESS_FAILURES,
    LONGEST_DELAY_SECONDS,
    MOST_AREAS,
    NAME_FAILURES,
    WINDOW,
    Verdict,
    Visit,
    area_of,
    ends_at,
    guess_verdict,
    guesser,
    is_in_scope,
    local_path,
    scope_of,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def failures(count: int, *, age: timedelta = timedelta(0)) -> list[datetime]:
    """So many, a second apart, the newest ``age`` ago; oldest first."""
    return [NOW - age - timedelta(seconds=n) for n in range(count)][::-1]


def test_the_first_mistakes_cost_nothing_and_the_next_take_longer_and_longer() -> None:
    delays = []
    for count in range(NAME_FAILURES):
        verdict = guess_verdict(failures(count), failures(count), now=NOW)
        assert verdict.retry_after is None
        delays.append(verdict.delay_seconds)
    assert delays[:3] == [0, 0, 0]
    assert delays[3:6] == [0.25, 0.5, 1.0]
    assert delays[-1] == LONGEST_DELAY_SECONDS
    assert delays == sorted(delays)


def test_at_the_limit_a_name_is_refused_until_the_oldest_failure_that_counts_is_old() -> None:
    found = failures(NAME_FAILURES, age=timedelta(minutes=5))
    verdict = guess_verdict(found, found, now=NOW)
    assert verdict.retry_after == found[0] + WINDOW - NOW
    later = found[0] + WINDOW
    assert guess_verdict(found, found, now=later).retry_after is None


def test_an_address_is_refused_for_every_name_at_its_wider_limit() -> None:
    below, at = failures(ADDRESS_FAILURES - 1), failures(ADDRESS_FAILURES)
    assert guess_verdict([], below, now=NOW) == Verdict()
    assert guess_verdict([], at, now=NOW).retry_after is not None


@pytest.mark.parametrize(
    ("address", "same_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("fe80::1%eth0", "fe80::2"),
        ("no address", "no address"),
    ],
)
def test_addresses_of_one_guesser_count_together(address: str, same_as: str) -> None:
    assert guesser(address) == guesser(same_as)
    assert guesser(address) != guesser("198.51.100.1")


def test_sites_of_ipv6_do_not_count_together() -> None:
    assert guesser("2001:db8:1:2::1") != guesser("2001:db8:1:3::1")


@pytest.mark.parametrize("path", ["/", "/web/pools?q=a%20b&sort=-name", "/web/buckets/a//b"])
def test_a_path_of_ours_is_gone_on_to(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/ok\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        " //evil.example",
        "web/pools",
        "/é",
    ],
)
def test_nobody_is_sent_elsewhere(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"


def test_a_session_ends_at_the_earlier_of_both_its_ends() -> None:
    idle = timedelta(hours=2)
    assert ends_at(last_seen_at=NOW, expires_at=NOW + timedelta(hours=8), idle=idle) == NOW + idle
    soon = NOW + timedelta(minutes=1)
    assert ends_at(last_seen_at=NOW, expires_at=soon, idle=idle) == soon


def test_what_a_browser_says_of_itself_is_cut() -> None:
    visit = Visit("1" * 5000, "Mozilla" * 1000)
    assert (len(visit.address), len(visit.user_agent)) == (45, 200)


async def test_a_name_that_nobody_has_costs_the_same_hash() -> None:
    """The hash it is checked against was made with the parameters of every other."""
    real = await passwords.hashed("correct horse battery")
    assert real.rpartition("$")[0].rpartition("$")[0] == "$argon2id$v=19$m=65536,t=3,p=4"
    assert passwords.UNMATCHED.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert len(real) == len(passwords.UNMATCHED)
    assert not await passwords.matches("", "correct horse battery")
    assert await passwords.matches(real, "correct horse battery")
    assert not await passwords.matches(real, "correct horse batterz")


def test_an_area_is_the_word_after_api() -> None:
    paths = ("/api/tiers", "/api/tiers/3/freeze", "/metrics", "/web/tiers", "/", "/metrics/x")
    assert [area_of(path) for path in paths] == ["tiers", "tiers", "metrics", "", "", ""]


@pytest.mark.parametrize("path", ["/", "/web/jobs", "/api/job", "/api/jobsx", "/api", "//api/jobs"])
def test_what_is_not_named_is_closed(path: str) -> None:
    assert is_in_scope((), path)
    assert not is_in_scope(("jobs",), path)


def test_a_scope_is_sorted_and_told_once() -> None:
    assert scope_of(["tiers", "jobs ", "tiers", ""]) == ("jobs", "tiers")


@pytest.mark.parametrize("area", ["tokens", "users", "me", "sessions", "Tiers", "a/b", "a,b", "*"])
def test_what_would_open_everything_is_no_scope(area: str) -> None:
    with pytest.raises(Invalid, match="scope"):
        scope_of([area])


def test_a_scope_names_so_many_areas_at_most() -> None:
    areas = [f"area-{number}" for number in range(MOST_AREAS + 1)]
    assert len(scope_of(areas[1:])) == MOST_AREAS
    with pytest.raises(Invalid, match="areas"):
        scope_of(areas)
