"""Names that no bucket has are refused before any server is asked."""

import pytest

from holdfast.demo.fleet import OLD
from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
NO_BUCKETS = ("../x", "a/b", ".hidden", "b", "a b", "x" * 64, "photos\n", "photos?acl")


@pytest.mark.parametrize("name", NO_BUCKETS)
async def test_a_move_of_what_is_no_bucket_name_is_refused(site: Site, name: str) -> None:
    for path in ("/api/migrations", "/api/migrations?dry_run=true"):
        answer = await site.api.post(path, json=site.body(name))
        assert answer.status_code == 422, answer.text
        assert "bucket" in answer.text


async def test_calls_on_one_bucket_refuse_what_is_no_bucket_name(site: Site) -> None:
    calls = [
        ("GET", f"/api/pools/{site.ids[OLD]}/buckets/..%5Cx/objects"),
        ("POST", f"/api/pools/{site.ids[OLD]}/buckets/.x/purge"),
        ("POST", "/api/vhosts/1/buckets/.x/promote"),
        ("POST", "/api/vhosts/1/buckets/.x/ignore"),
        ("POST", "/api/vhosts/1/buckets/.x/migrate"),
        ("POST", "/api/vhosts/1/buckets/.x/purge-orphan"),
        ("DELETE", "/api/vhosts/1/buckets/.x/route"),
        ("POST", "/api/vhosts/1/http-bucket-routes/.x"),
        ("DELETE", "/api/vhosts/1/http-bucket-routes/.x"),
    ]
    for method, path in calls:
        body = {"pool_id": site.ids[OLD], "confirm": ".x"} if method == "POST" else None
        answer = await site.api.request(method, path, json=body)
        assert answer.status_code == 422, (path, answer.text)
        assert "bucket" in answer.text


async def test_a_phase_that_does_not_exist_is_refused_with_those_that_do(site: Site) -> None:
    answer = await site.api.get("/api/migrations?phase=nix")
    assert answer.status_code == 422
    for phase in ("pending", "copying", "verifying", "switching", "done", "error", "cancelled"):
        assert phase in answer.text
    assert (await site.api.get("/api/migrations?phase=")).status_code == 200
    assert (await site.api.get("/api/migrations?phase=done")).json() == []
