"""Where a request goes, in every state of a bucket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.gateway.flags import FlagState, counter_key
from holdfast.gateway.render_model import (
    RenderContext,
    RouteSpec,
    pool_alias,
)
from tests.gateway.data_plane import (
    NO_CONTENT,
    VHOST,
    Gateway,
    gate,
    never_answers,
    running_gateway,
    wait_for_log,
)
from tests.kernel.nginx.lab import until

pytestmark = pytest.mark.real


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


async def test_a_bucket_without_a_flag_goes_to_the_default_pool(gateway: Gateway) -> None:
    assert (await gateway.ask("GET", "/other/x")).body == "S GET /other/x"
    assert (await gateway.ask("PUT", "/other/x", b"z")).body == "S PUT /other/x"
    assert (await gateway.ask("GET", "/")).body == "S GET /"


async def test_a_flag_routes_a_bucket_at_once(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC, "pool_d")
    assert (await gateway.ask("GET", "/bkt/a")).body == "D GET /bkt/a"
    gateway.flag(FlagState.STATIC, "pool_s")
    assert (await gateway.ask("GET", "/bkt/a")).body == "S GET /bkt/a"
    gateway.flags.remove(VHOST, "bkt")
    assert (await gateway.ask("DELETE", "/bkt/a")).body == "S DELETE /bkt/a"
    assert "crit" not in gateway.lab.error_log()


async def test_a_pool_with_a_dotted_name_is_routed_by_its_alias(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC, pool_alias("dotted.pool"))
    for method in ("GET", "PUT", "DELETE"):
        assert (await gateway.ask(method, "/bkt/a")).body == f"P {method} /bkt/a"


@pytest.mark.parametrize("path", ["/bkt?list-type=2", "/bkt", "/bkt/", "/bkt/?a=b"])
async def test_a_bucket_is_reached_with_and_without_a_slash(gateway: Gateway, path: str) -> None:
    gateway.flag(FlagState.STATIC, "pool_d")
    assert (await gateway.ask("GET", path)).body == f"D GET {path}"


async def test_the_path_reaches_the_pool_as_it_was_sent(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC, "pool_d")
    path = "/bkt/a%2Fb//c%20d/%2e%2e/e?x=1"
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert (await gateway.ask(method, path, b"")).body == f"D {method} {path}"
    part = "/bkt/a%2Fb//c%20d/%2e%2e/e?partNumber=1&uploadId=u"
    assert (await gateway.ask("PUT", part)).body == f"D PUT {part}"


@pytest.mark.parametrize("state", [FlagState.STATIC, FlagState.HOLD, FlagState.DST])
async def test_a_pool_is_shown_the_same_of_every_request(
    gateway: Gateway, state: FlagState
) -> None:
    """Also of one that goes through the inner server, and whatever the client pretends."""
    gateway.flag(state)
    pool = "D" if state is FlagState.DST else "S"
    forged = "X-HF-Vhost: x\r\nX-HF-Counted: x\r\nX-HF-Host: x\r\nX-Forwarded-For: 9.9.9.9\r\n"
    for method, path in (
        ("GET", "/bkt/k"),
        ("PUT", "/bkt/k"),
        ("POST", "/bkt?delete"),
        ("POST", "/bkt/k?uploadId=u"),
        ("PUT", "/bkt/k?partNumber=1&uploadId=u"),
        ("PUT", "/free/k"),
    ):
        answer = await gateway.ask(method, path, b"x", host="s3.local:8443", headers=forged)
        saw = "s3.local:8443 127.0.0.1 9.9.9.9, 127.0.0.1 http"
        assert (answer.body[0], answer.header("X-Saw")) == (pool if "/bkt" in path else "S", saw)


async def test_deleting_a_bucket_is_refused_while_it_moves(gateway: Gateway) -> None:
    gateway.flag(FlagState.STATIC)
    assert (await gateway.ask("DELETE", "/bkt")).status == 200
    gateway.flag(FlagState.SRC)
    for path in ("/bkt", "/bkt/", "/bkt//", "/bkt?x-id=DeleteBucket"):
        answer = await gateway.ask("DELETE", path)
        assert (answer.status, "OperationAborted" in answer.body) == (409, True), path


async def test_reads_and_parts_do_not_wait_at_the_gate(gateway: Gateway) -> None:
    gateway.flag(FlagState.HOLD)
    async with gate(gateway, never_answers) as asked:
        assert (await gateway.ask("GET", "/bkt/a")).body[0] == "S"
        assert (await gateway.ask("HEAD", "/bkt/a")).status == 200
        assert (await gateway.ask("PUT", "/bkt/a?partNumber=1&uploadId=u", b"x")).body[0] == "S"
        assert not asked


async def test_a_dead_driver_lets_writes_go_to_the_source(gateway: Gateway) -> None:
    gateway.flag(FlagState.HOLD)
    for method, path in (("PUT", "/bkt/a"), ("POST", "/bkt?delete"), ("POST", "/bkt/a?uploadId=u")):
        answer = await gateway.ask(method, path, b"x")
        assert answer.body == f"S {method} {path}"


async def test_a_driver_that_breaks_off_lets_writes_go_to_the_source(gateway: Gateway) -> None:
    async def reset(_: str) -> bytes:
        raise ConnectionError

    gateway.flag(FlagState.HOLD)
    async with gate(gateway, reset) as asked:
        assert (await gateway.ask("PUT", "/bkt/a", b"x")).body == "S PUT /bkt/a"
        assert asked


async def test_a_silent_driver_is_answered_with_slow_down_never_by_the_source(
    gateway: Gateway,
) -> None:
    gateway.flag(FlagState.HOLD)
    async with gate(gateway, never_answers):
        for method, path in (("PUT", "/bkt/a"), ("POST", "/bkt/a?uploadId=u")):
            answer = await gateway.ask(method, path, b"x")
            assert (answer.status, answer.header("Retry-After")) == (503, "1")
            assert "SlowDown" in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/bkt/a"), ("DELETE", "/bkt/a"), ("POST", "/bkt?delete"), ("POST", "/bkt/a?uploads")],
)
async def test_a_write_that_waits_during_the_flip_goes_to_the_destination(
    gateway: Gateway, method: str, path: str
) -> None:
    async def flip(_: str) -> bytes:
        gateway.flag(FlagState.HOLDD)
        gateway.flag(FlagState.DST)
        return NO_CONTENT

    held = gateway.flag(FlagState.HOLD)
    async with gate(gateway, flip) as asked:
        assert (await gateway.ask(method, path, b"x")).body == f"D {method} {path}"
    assert asked[0].startswith("GET /gate HTTP/1.")
    assert f"X-Holdfast-Key: {counter_key(VHOST, 'bkt', held)}\r\n" in asked[0]
    assert "X-Holdfast-Bucket: bkt\r\n" in asked[0]
    assert f"X-Holdfast-Vhost: {VHOST}\r\n" in asked[0]
    await wait_for_log(gateway, 1)
    assert gateway.log()[0]["tgt"] == "pool_d"


async def test_the_gate_is_not_shown_what_a_client_sends(gateway: Gateway) -> None:
    async def answer(_: str) -> bytes:
        return NO_CONTENT

    gateway.flag(FlagState.HOLD)
    async with gate(gateway, answer) as asked:
        headers = "Authorization: secret\r\nX-Holdfast-Key: forged\r\n"
        await gateway.ask("PUT", "/bkt/a", b"x", headers=headers)
    assert "secret" not in asked[0]
    assert "forged" not in asked[0]


async def test_pinned_uploads_stay_on_the_source(gateway: Gateway) -> None:
    gateway.flag(FlagState.DST)
    gateway.flags.pin(VHOST, "bkt", "u1")
    for upload, pool in (("u1", "S"), ("u2", "D")):
        path = f"/bkt/a?partNumber=2&uploadId={upload}"
        assert (await gateway.ask("PUT", path, b"x")).body == f"{pool} PUT {path}"
        path = f"/bkt/a?uploadId={upload}"
        assert (await gateway.ask("GET", path)).body == f"{pool} GET {path}"
        assert (await gateway.ask("DELETE", path)).body == f"{pool} DELETE {path}"


async def test_completing_a_pinned_upload_needs_its_driver(gateway: Gateway) -> None:
    async def completed(_: str) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"

    gateway.flag(FlagState.DST)
    gateway.flags.pin(VHOST, "bkt", "u1")
    assert (await gateway.ask("POST", "/bkt/a?uploadId=u1", b"<x/>")).status == 503
    assert (await gateway.ask("POST", "/bkt/a?uploadId=u2", b"<x/>")).body[0] == "D"
    async with gate(gateway, completed) as asked:
        assert (await gateway.ask("POST", "/bkt/a?uploadId=u1", b"<x/>")).body == "done"
    assert asked[0].startswith("POST /bkt/a?uploadId=u1 HTTP/1.")
    assert "X-Holdfast-Upload: u1\r\n" in asked[0]


async def test_a_complete_that_waits_while_its_upload_is_pinned_goes_to_the_driver(
    gateway: Gateway,
) -> None:
    """Pins are written while the gate is closed: looked up before, they would be missed."""

    async def driver(head: str) -> bytes:
        if head.startswith("GET /gate"):
            gateway.flags.pin(VHOST, "bkt", "u1")
            gateway.flag(FlagState.HOLDD)
            gateway.flag(FlagState.DST)
            return NO_CONTENT
        return b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nrelayed"

    gateway.flag(FlagState.HOLD)
    async with gate(gateway, driver):
        answer = await gateway.ask("POST", "/bkt/a?uploadId=u1", b"<x/>")
    assert answer.body == "relayed"


async def test_without_a_default_pool_an_unrouted_bucket_does_not_exist(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, default_pool=None) as gateway:
        for method in ("GET", "PUT", "DELETE"):
            answer = await gateway.ask(method, "/free/k")
            assert (answer.status, "NoSuchBucket" in answer.body) == (404, True)
            assert answer.header("Content-Type") == "application/xml"
        gateway.flag(FlagState.STATIC, "pool_d")
        assert (await gateway.ask("PUT", "/bkt/k")).body == "D PUT /bkt/k"


async def test_a_route_with_directives_moves_like_any_other(tmp_path: Path) -> None:
    route = RouteSpec(
        path_prefix="/bkt/", pool="pool_s", extra_directives="add_header X-Route yes always;"
    )
    async with running_gateway(tmp_path, routes=(route,), default_pool="pool_d") as gateway:
        for path in ("/bkt", "/bkt/", "/bkt/k"):
            assert (await gateway.ask("GET", path)).body == f"D GET {path}", "no flag yet"
            assert (await gateway.ask("PUT", path)).body == f"D PUT {path}"
        gateway.flag(FlagState.STATIC)
        for path in ("/bkt", "/bkt/", "/bkt/k"):
            assert (await gateway.ask("GET", path)).body == f"S GET {path}"
            assert (await gateway.ask("PUT", path)).body == f"S PUT {path}"
        assert (await gateway.ask("GET", "/bktx/k")).body[0] == "D"
        gateway.flag(FlagState.SRC)
        answer = await gateway.ask("PUT", "/bkt/k", b"x")
        assert (answer.body[0], answer.header("X-Route")) == ("S", "yes")
        assert (await gateway.ask("DELETE", "/bkt/")).status == 409
        gateway.flag(FlagState.HOLD)

        async def flip(_: str) -> bytes:
            gateway.flag(FlagState.HOLDD)
            gateway.flag(FlagState.DST)
            return NO_CONTENT

        async with gate(gateway, flip):
            assert (await gateway.ask("PUT", "/bkt/k", b"x")).body[0] == "D"
        for path in ("/bkt", "/bkt/", "/bkt/k"):
            assert (await gateway.ask("GET", path)).body == f"D GET {path}"
        await wait_for_log(gateway, 2)


async def test_a_route_with_directives_and_neither_flag_nor_default_pool_is_no_bucket(
    tmp_path: Path,
) -> None:
    route = RouteSpec(path_prefix="/bkt/", pool="pool_s", extra_directives="gzip on;")
    async with running_gateway(tmp_path, routes=(route,), default_pool=None) as gateway:
        for method in ("GET", "PUT"):
            answer = await gateway.ask(method, "/bkt/k")
            assert (answer.status, "NoSuchBucket" in answer.body) == (404, True)
        gateway.flag(FlagState.STATIC, "pool_d")
        for method in ("GET", "PUT"):
            assert (await gateway.ask(method, "/bkt/k")).status == 200


async def test_a_key_prefix_is_put_before_the_path_as_it_was_sent(tmp_path: Path) -> None:
    route = RouteSpec(path_prefix="/team/a/", pool="pool_d", key_prefix="store/a")
    async with running_gateway(tmp_path, routes=(route,)) as gateway:
        for path, reached in (
            ("/team/a/x%2Fy/z?q=1", "/store/a/x%2Fy/z?q=1"),
            ("/team/a", "/store/a/"),
            ("/team/a/", "/store/a/"),
            ("/team/a?list-type=2", "/store/a/?list-type=2"),
        ):
            assert (await gateway.ask("GET", path)).body == f"D GET {reached}"
        assert (await gateway.ask("GET", "/team/ab")).body[0] == "S"
        for path in ("/team/a/x/../y", "/team/%61/x", "/team/a/x%2f%2e%2e/y"):
            assert (await gateway.ask("GET", path)).status == 400
        above = "/team/a/%2e%2e%2fb"
        assert (await gateway.ask("GET", above)).body == f"S GET {above}"


async def test_an_http_vhost_routes_buckets_by_flag_and_keeps_odd_paths(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, type="http") as gateway:
        gateway.flag(FlagState.STATIC, "pool_d")
        for method in ("GET", "POST"):
            assert (await gateway.ask(method, "/bkt/x")).body == f"D {method} /bkt/x"
            assert (await gateway.ask(method, "/My%20Docs/x")).body == f"S {method} /My%20Docs/x"
        assert (await gateway.ask("GET", "/bkt")).body == "D GET /bkt"


async def test_the_operators_access_log_has_the_writes_too(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        log = gateway.lab.prefix / "logs" / "access.log"
        gateway.ctx = RenderContext(
            nginx_dir=gateway.root,
            control_port=gateway.ctx.control_port,
            access_logs=(await gateway.nginx.main_file()).access_logs,
        )
        await gateway.apply(gateway.vhosts)
        gateway.flag(FlagState.STATIC)
        await gateway.ask("PUT", "/bkt/seen", b"x")
        await until(lambda: "/bkt/seen" in log.read_text(), "the write is not in the access log")
