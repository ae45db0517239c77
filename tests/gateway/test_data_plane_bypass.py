"""No spelling of a request goes around the flag of its bucket, or around the dirty log."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.gateway.flags import FlagState
from holdfast.gateway.render_model import RouteSpec
from tests.gateway.data_plane import (
    VHOST,
    Gateway,
    gate,
    never_answers,
    running_gateway,
    wait_for_log,
)
from tests.kernel.nginx.lab import send_raw

pytestmark = pytest.mark.real


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        "/%62kt/k",
        "/bkt%2Fk",
        "/bk%74",
        "//bkt/k",
        "/./bkt/k",
        "/x/../bkt/k",
        "/other/../bkt/k",
        "/other/%2e%2e/bkt/k",
        "/other/x/../../bkt/k",
        "/bkt/../other/k",
        "/bkt#/k",
        "/bkt/%2e%2e/other/k",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_bucket_under_another_spelling_is_refused(
    gateway: Gateway, method: str, path: str
) -> None:
    gateway.flag(FlagState.STATIC, "pool_d")
    answer = await gateway.ask(method, path)
    assert (answer.status, "<Error>" in answer.body) == (400, True), answer


async def test_a_fixed_route_is_no_way_into_another_bucket(tmp_path: Path) -> None:
    route = RouteSpec(path_prefix="/team/a/", pool="pool_s")
    async with running_gateway(tmp_path, routes=(route,), default_pool="pool_d") as gateway:
        assert (await gateway.ask("PUT", "/team/a/k")).body == "S PUT /team/a/k"
        for path in ("/bkt/../team/a/k", "/bkt/%2e%2e/team/a/k", "//team/a/k"):
            assert (await gateway.ask("PUT", path)).status == 400


async def test_a_path_above_the_root_is_refused(gateway: Gateway) -> None:
    assert (await gateway.ask("GET", "/../bkt/k")).status == 400


async def test_an_absolute_url_is_routed_like_its_path(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC, "pool_d")
    for method in ("GET", "PUT"):
        answer = await gateway.ask(method, "http://s3.local/bkt/k")
        assert answer.body == f"D {method} /bkt/k"


async def test_a_lowercase_method_is_refused(gateway: Gateway) -> None:
    gateway.flag(FlagState.SRC)
    assert (
        await send_raw(gateway.port, b"put /bkt/k HTTP/1.1\r\nHost: s3.local\r\n\r\n")
    ).status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/bkt/k?uploadId=u"),
        ("PUT", "/bkt/k?partNumber=1&uploadId="),
        ("PUT", "/bkt/k?partNumber=1&upload%49d=u"),
        ("PUT", "/bkt/k?partNumber=1&uploadId=u&uploadId=v"),
        ("PUT", "/bkt/k?partNumber=1&UPLOADID=u"),
        ("PUT", "/bkt/k?partNumber=1&uploadId=../../x"),
        ("PUT", "/bkt/k?partNumber=1&uploadId=u&versionId=3"),
        ("PUT", "/bkt/k?partNumber=1&uploadId=u&acl"),
        ("PUT", "/bkt/?partNumber=1&uploadId=u"),
        ("PUT", "/bkt/k?x=?partNumber=1&uploadId=u"),
        ("DELETE", "/bkt/k?uploadId="),
        ("DELETE", "/bkt/k?uploadId"),
        ("DELETE", "/bkt/k?upload%49d=u"),
        ("DELETE", "/bkt/k?uploadId=u&versionId=1"),
        ("DELETE", "/bkt/k?uploadId=u&uploadId=w"),
        ("DELETE", "/bkt/k?notuploadId=u"),
        ("POST", "/bkt/k?uploadId="),
        ("POST", "/bkt/k?uploads&uploadId=u"),
        ("POST", "/bkt?d%65lete"),
        ("POST", "/bkt"),
        ("PATCH", "/bkt/k"),
        ("COPY", "/bkt/k"),
        ("PROPFIND", "/bkt/k"),
    ],
)
async def test_whatever_may_be_a_mutation_is_counted_and_logged(
    gateway: Gateway, method: str, path: str
) -> None:
    gateway.flag(FlagState.SRC)
    gateway.flags.pin(VHOST, "bkt", "u")
    answer = await gateway.ask(method, path, b"")
    assert answer.body == f"S {method} {path}"
    await wait_for_log(gateway, 1)
    assert gateway.log()[0]["u"] == path


async def test_signed_urls_of_parts_do_not_wait(gateway: Gateway) -> None:
    gateway.flag(FlagState.HOLD)
    signed = "X-Amz-Algorithm=AWS4&X-Amz-Expires=3600&X-Amz-Signature=ab%2F"
    query = f"{signed}&partNumber=7&uploadId=a-b_~.c%3D"
    async with gate(gateway, never_answers) as asked:
        assert (await gateway.ask("PUT", f"/bkt/k?{query}&x-id=UploadPart", b"x")).body[0] == "S"
        assert not asked
