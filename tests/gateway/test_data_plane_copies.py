"""A copy reads on the servers of its target; what a bucket that moved left behind is never read."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.gateway.flags import FlagState
from holdfast.gateway.render_model import RouteSpec
from tests.gateway.data_plane import (
    NO_CONTENT,
    Gateway,
    gate,
    never_answers,
    running_gateway,
    wait_for_log,
    wait_in_flight,
)
from tests.kernel.nginx.lab import Answer

pytestmark = pytest.mark.real

PART = "?partNumber=1&uploadId=u"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


async def copy(gateway: Gateway, source: str, target: str) -> Answer:
    return await gateway.ask("PUT", target, headers=f"x-amz-copy-source: {source}\r\n")


@pytest.mark.parametrize("target", ["/bkt/x", f"/bkt/x{PART}", "/free/x", f"/free/x{PART}"])
async def test_a_copy_is_refused_once_its_source_has_moved(gateway: Gateway, target: str) -> None:
    gateway.flag(FlagState.STATIC)
    forms = (
        "/moved/k",
        "moved/k",
        "%2Fmoved%2fk",
        "moved%2Fk",
        "/moved/k?versionId=3",
        "//moved/k",
    )
    for state in (FlagState.STATIC, FlagState.SRC, FlagState.HOLD):
        gateway.flag(state, bucket="moved")
        for form in forms:
            assert (await copy(gateway, form, target)).body == f"S PUT {target}"
    for state in (FlagState.HOLDD, FlagState.DST):
        gateway.flag(state, bucket="moved")
        for form in forms:
            answer = await copy(gateway, form, target)
            assert (answer.status, "NotImplemented" in answer.body) == (501, True), (state, form)
    gateway.flag(FlagState.STATIC, "pool_d", bucket="moved")
    assert (await copy(gateway, "/moved/k", target)).status == 501
    assert (await copy(gateway, "/nobody/k", target)).status == 200, "on the default pool"
    if target.startswith("/bkt"):
        gateway.flag(FlagState.STATIC, "pool_d")
        assert (await copy(gateway, "/moved/k", target)).body == f"D PUT {target}"
        assert (await copy(gateway, "/nobody/k", target)).status == 501
    assert "crit" not in gateway.lab.error_log()
    assert "uninitialized" not in gateway.lab.error_log()


@pytest.mark.parametrize("target", ["/bkt/x", "/free/x"])
async def test_a_source_that_could_be_any_bucket_is_refused(gateway: Gateway, target: str) -> None:
    gateway.flag(FlagState.STATIC)
    for form in ("%6doved/k", "moved", "/", "bkt/../moved/k", "/bkt/a/%2e%2E/../moved/k"):
        answer = await copy(gateway, form, target)
        assert (answer.status, "InvalidArgument" in answer.body) == (400, True), form
    assert (await copy(gateway, "/bkt/..a/b..", target)).status == 200


async def test_a_copy_within_a_bucket_follows_it(gateway: Gateway) -> None:
    for state, pool in ((FlagState.SRC, "S"), (FlagState.DST, "D")):
        gateway.flag(state)
        assert (await copy(gateway, "/bkt/k", "/bkt/x")).body == f"{pool} PUT /bkt/x"
    await wait_for_log(gateway, 2)


async def test_a_copy_that_waited_at_the_gate_goes_by_where_its_target_is_then(
    gateway: Gateway,
) -> None:
    gateway.flag(FlagState.STATIC, bucket="stays")
    gateway.flag(FlagState.STATIC, "pool_d", bucket="there")
    for source, expected in (("/stays/k", 501), ("/there/k", 200), ("/bkt/k", 200)):
        gateway.flag(FlagState.HOLD)

        async def flip(_: str) -> bytes:
            gateway.flag(FlagState.HOLDD)
            gateway.flag(FlagState.DST)
            return NO_CONTENT

        async with gate(gateway, flip) as heads:
            assert (await copy(gateway, source, "/bkt/x")).status == expected
            assert len(heads) == 1
        gateway.flag(FlagState.SRC)


async def test_a_copy_is_counted_while_it_waits(gateway: Gateway) -> None:
    hold = gateway.flag(FlagState.HOLD)
    async with gate(gateway, never_answers):
        waiting = asyncio.create_task(copy(gateway, "/bkt/k", "/bkt/x"))
        await wait_in_flight(gateway, hold)
        assert (await waiting).status == 503


async def test_copies_out_of_a_moving_bucket_are_in_its_log(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC)
    gateway.flag(FlagState.SRC, bucket="moving")
    for target in ("/bkt/x", f"/bkt/x{PART}", "/free/x"):
        assert (await copy(gateway, "/moving/k", target)).status == 200
        assert (await copy(gateway, "/other/k", target)).status == 200
    await gateway.ask("PUT", "/moving/last")
    await wait_for_log(gateway, 4)
    assert [(line["b"], line["cs"]) for line in gateway.log()] == [
        ("bkt", "/moving/k"),
        ("bkt", "/moving/k"),
        ("free", "/moving/k"),
        ("moving", ""),
    ]


async def test_a_copy_into_a_fixed_route_reads_where_that_goes(tmp_path: Path) -> None:
    routes = (
        RouteSpec(path_prefix="/team/a/", pool="pool_d", key_prefix="store/a"),
        RouteSpec(path_prefix="/bkt/deep/", pool="pool_d"),
    )
    async with running_gateway(tmp_path, routes=routes) as gateway:
        gateway.flag(FlagState.STATIC, bucket="stays")
        gateway.flag(FlagState.STATIC, "pool_d", bucket="there")
        for sent, reached in (
            ("/team/a/x%2Fy/z?q=1", "/store/a/x%2Fy/z?q=1"),
            ("/bkt/deep/%20?q=1", "/bkt/deep/%20?q=1"),
        ):
            assert (await copy(gateway, "/there/k", sent)).body == f"D PUT {reached}"
            for source in ("/stays/k", "/free/k"):
                assert (await copy(gateway, source, sent)).status == 501
            assert (await copy(gateway, "%6f", sent)).status == 400
        assert (await gateway.ask("GET", "/.holdfast-copy-1")).status == 404


async def test_pools_of_the_same_servers_are_one_place(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC)
    gateway.flag(FlagState.STATIC, "pool_d", bucket="there")
    gateway.shared = {"pool_s": "pool_d", "pool_d": "pool_d"}
    await gateway.apply(gateway.vhosts)
    assert (await copy(gateway, "/there/k", "/bkt/x")).body == "S PUT /bkt/x"
    assert (await copy(gateway, "/free/k", "/there/x")).body == "D PUT /there/x"
