"""Every write is counted before it is routed, and logged before it is counted off."""

import asyncio
from collections.abc import AsyncIterator, Sized
from functools import partial
from pathlib import Path

import pytest

from holdfast.gateway.flags import FlagState
from tests.gateway.data_plane import (
    VHOST,
    Gateway,
    an_s3_vhost,
    running_gateway,
    wait_for_log,
    wait_in_flight,
    wait_not_in_flight,
)
from tests.kernel.nginx.lab import until

pytestmark = pytest.mark.real


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


async def test_an_unfinished_write_is_counted_also_across_a_reload(gateway: Gateway) -> None:
    flag = gateway.flag(FlagState.SRC)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"PUT /bkt/slow HTTP/1.1\r\nHost: s3.local\r\nContent-Length: 10\r\n\r\nabc")
    await writer.drain()
    await wait_in_flight(gateway, flag)
    await gateway.apply([*gateway.vhosts, an_s3_vhost(gateway.port, server_name="two.local")])
    assert await gateway.in_flight(flag)
    writer.write(b"defghij")
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await wait_not_in_flight(gateway, flag)


async def test_counter_zero_means_that_the_log_is_complete(gateway: Gateway) -> None:
    flag, written, rounds, clients = gateway.flag(FlagState.SRC), 0, 150, 8
    log = gateway.root / "log" / "dirty.log"
    for _ in range(rounds):
        puts = [gateway.ask("PUT", f"/bkt/k{n}", b"x") for n in range(clients)]
        await asyncio.gather(*puts)
        written += clients
        while await gateway.in_flight(flag):
            pass
        assert log.read_bytes().count(b"\n") == written


async def test_the_log_is_complete_also_while_nginx_reloads(gateway: Gateway) -> None:
    flag = gateway.flag(FlagState.SRC)
    done, written = asyncio.Event(), 0

    async def write() -> int:
        count = 0
        while not done.is_set():
            count += (await gateway.ask("PUT", f"/bkt/k{count}", b"x")).status == 200
        return count

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write()) for _ in range(4)]
        for _ in range(5):
            await gateway.apply(gateway.vhosts)
        done.set()
    written = sum(task.result() for task in writers)
    await wait_not_in_flight(gateway, flag)
    assert written > 0
    assert len(gateway.log()) >= written


async def test_a_batch_delete_is_logged_with_its_keys_and_a_put_without_its_body(
    gateway: Gateway,
) -> None:
    gateway.flag(FlagState.SRC)
    body = "<Delete><Object><Key>a&amp;b é</Key></Object></Delete>".encode()
    await gateway.ask("POST", "/bkt?delete", body)
    await gateway.ask("PUT", "/bkt/secret", b"content")
    await wait_for_log(gateway, 2)
    batch, put = gateway.log()
    assert "a&amp;b é" in batch["rb"]
    assert (batch["c"], put["c"], put["rb"]) == ("batch", "mut", "")
    assert (put["v"], put["b"], put["u"], put["s"]) == (VHOST, "bkt", "/bkt/secret", "200")


async def test_a_copy_from_another_bucket_is_seen_in_the_log(gateway: Gateway) -> None:
    gateway.flag(FlagState.SRC)
    source = "x-amz-copy-source: /elsewhere/k\r\n"
    await gateway.ask("PUT", "/bkt/copy", headers=source)
    await gateway.ask("PUT", "/bkt/part?partNumber=1&uploadId=u", headers=source)
    await gateway.ask("PUT", "/bkt/plain?partNumber=1&uploadId=u")
    await gateway.ask("PUT", "/bkt/last")
    await wait_for_log(gateway, 3)
    assert [(line["u"], line["cs"]) for line in gateway.log()] == [
        ("/bkt/copy", "/elsewhere/k"),
        ("/bkt/part?partNumber=1&uploadId=u", "/elsewhere/k"),
        ("/bkt/last", ""),
    ]


async def test_an_unrouted_bucket_is_counted_and_not_logged(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"PUT /free/k HTTP/1.1\r\nHost: s3.local\r\nContent-Length: 2\r\n\r\na")
    await writer.drain()
    await wait_in_flight(gateway, None, "free")
    writer.write(b"b")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await wait_not_in_flight(gateway, None, "free")
    assert gateway.log() == []


def longer(items: Sized, length: int) -> bool:
    return len(items) > length


async def test_no_write_escapes_the_first_flag_of_a_bucket(gateway: Gateway) -> None:
    """Once the flag is there and the counter of "no flag" is 0, every later write is in the log."""
    for round_ in range(40):
        bucket, stop = f"new{round_}", asyncio.Event()
        ended: list[tuple[str, float]] = []

        async def write(
            worker: int,
            bucket: str = bucket,
            stop: asyncio.Event = stop,
            ended: list[tuple[str, float]] = ended,
        ) -> None:
            count = 0
            while not stop.is_set():
                key, count = f"/{bucket}/{worker}-{count}", count + 1
                started = asyncio.get_running_loop().time()
                assert (await gateway.ask("PUT", key, b"x")).status == 200
                ended.append((key, started))

        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(write(worker)) for worker in range(4)]
            await until(partial(longer, ended, 4), "no write came through")
            flag = gateway.flag(FlagState.SRC, bucket=bucket)
            await wait_not_in_flight(gateway, None, bucket)
            barrier, count = asyncio.get_running_loop().time(), len(ended)
            await until(partial(longer, ended, count + 8), "writes stopped")
            stop.set()
            await asyncio.gather(*writers)
        await wait_not_in_flight(gateway, flag, bucket)
        logged = {line["u"] for line in gateway.log()}
        after = {key for key, started in ended if started >= barrier}
        assert after <= logged
