"""Rules of the gateway that need nothing but values."""

import pytest

from holdfast.gateway import model
from holdfast.gateway.model import CredentialsDraft
from holdfast.kernel.errors import BadRequest


def test_credentials_show_no_key() -> None:
    draft = CredentialsDraft(access_key="AKIDEXAMPLE", secret_key="hunter22", region="eu")
    assert repr(draft) == "CredentialsDraft(region='eu')"


@pytest.mark.parametrize(
    ("prefix", "key_prefix", "bucket"),
    [
        ("/photos", None, "photos"),
        ("/photos/", None, "photos"),
        ("/photos/2026/", None, None),
        ("/photos/", "elsewhere/", None),
        ("/", None, None),
    ],
)
def test_a_route_of_one_plain_segment_names_a_bucket(
    prefix: str, key_prefix: str | None, bucket: str | None
) -> None:
    assert model.bucket_of(prefix, key_prefix) == bucket


@pytest.mark.parametrize(
    ("bucket", "directives", "enabled", "plain"),
    [
        ("photos", None, True, True),
        ("photos", "  ", True, True),
        ("photos", "expires 1d;", True, False),
        ("photos", None, False, False),
        (None, None, True, False),
    ],
)
def test_only_an_enabled_bucket_route_without_directives_is_plain(
    bucket: str | None, directives: str | None, enabled: bool, plain: bool
) -> None:
    assert model.is_plain(bucket, directives, enabled=enabled) is plain


@pytest.mark.parametrize(
    ("given", "written"),
    [(None, ""), ("  ", ""), ("expires 1d", "expires 1d;"), ("expires 1d;", "expires 1d;")],
)
def test_the_last_semicolon_may_be_left_out(given: str | None, written: str) -> None:
    assert model.as_directives(given) == written


def test_a_last_slash_does_not_make_another_place() -> None:
    assert model.same_place("/b/") == model.same_place("/b") == "/b"
    assert model.same_place("/") == "/"


@pytest.mark.parametrize(
    ("pool_type", "role", "taken"),
    [
        ("nanio", None, "active"),
        ("nanio", "active", "active"),
        ("http", None, "primary"),
        ("http", "replica", "replica"),
    ],
)
def test_a_member_gets_a_role_that_suits_its_pool(
    pool_type: str, role: str | None, taken: str
) -> None:
    assert model.role_for(pool_type, role) == taken


@pytest.mark.parametrize(("pool_type", "role"), [("nanio", "primary"), ("http", "active")])
def test_a_role_of_the_other_type_is_refused(pool_type: str, role: str) -> None:
    with pytest.raises(BadRequest, match="pools"):
        model.role_for(pool_type, role)


def test_a_pool_keeps_its_type_while_members_have_roles_of_it() -> None:
    model.check_type_change("a", "http", ["primary", "replica"])
    with pytest.raises(BadRequest, match=r"role\(s\) active"):
        model.check_type_change("a", "http", ["active"])


def test_the_pools_of_a_vhost_are_of_one_type() -> None:
    model.check_same_type("a", "http", {"http"})
    with pytest.raises(BadRequest, match="cannot mix"):
        model.check_same_type("a", "http", {"nanio"})


@pytest.mark.parametrize(
    ("path_prefix", "key_prefix", "bucket"),
    [
        ("/photos/", None, "photos"),
        ("/photos/2026/", None, "photos"),
        ("/pics/", "photos/2026", "photos"),
        ("/", None, ""),
    ],
)
def test_a_route_shows_objects_of_a_bucket(
    path_prefix: str, key_prefix: str | None, bucket: str
) -> None:
    assert model.reached_bucket(path_prefix, key_prefix) == bucket
