"""What a server knows of a bucket and a move does not carry over: told before it is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.kernel.ports import free_port
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.model import Stage
from holdfast.migrations.preflight import bucket_problems
from tests.kernel.nginx.lab import nginx_lab
from tests.migrations.rig import BUCKET, QUICK, Notes, running_rig
from tests.servers.s3 import S3Server, nanio_server

pytestmark = pytest.mark.real
OWNER = "<Grant><Grantee><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>"
EVERYBODY = "<Grant><Grantee><URI>everybody</URI></Grantee><Permission>READ</Permission></Grant>"
READER = "<Grant><Grantee><ID>you</ID></Grantee><Permission>READ</Permission></Grant>"
TAGGING = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"


def acl(*grants: str) -> str:
    return (
        "<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList>"
        f"{''.join(grants)}</AccessControlList></AccessControlPolicy>"
    )


@asynccontextmanager
async def knowing_more(
    folder: Path, server: S3Server, *, answers: dict[str, str], tagged: str = ""
) -> AsyncIterator[str]:
    """The endpoint of a server that answers sub-resources, and has tags on one key."""
    port = free_port()
    queries = "".join(f"~(^|&){query}= {query};" for query in answers)
    returns = "".join(
        f"if ($sub = {query}) {{ return 200 '{xml}'; }}\n" for query, xml in answers.items()
    )
    async with nginx_lab(folder) as lab:
        lab.write_main(
            f'map $args $sub {{ default ""; {queries} }}\n'
            f'map $uri $tags {{ default ""; "/{BUCKET}/{tagged}" 2; }}\n'
            f"server {{ listen 127.0.0.1:{port}; client_max_body_size 0; location / {{ {returns}"
            f"add_header x-amz-tagging-count $tags; proxy_pass http://{server.address};"
            "proxy_set_header Host $http_host; } }"
        )
        await lab.start()
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("answers", "waivers"),
    [
        ({}, []),
        ({"acl": acl(OWNER)}, []),
        ({"acl": acl(OWNER, READER)}, ["acl"]),
        ({"acl": acl(EVERYBODY)}, ["acl"]),
        ({"tagging": TAGGING}, ["tags"]),
    ],
)
async def test_access_lists_and_tags_of_a_bucket_are_problems(
    tmp_path: Path, answers: dict[str, str], waivers: list[str]
) -> None:
    async with nanio_server(tmp_path / "s3") as server:
        async with server.client() as client:
            await client.create_bucket(BUCKET)
        async with (
            knowing_more(tmp_path / "front", server, answers=answers) as endpoint,
            S3Client(endpoint, server.access_key, server.secret_key) as client,
        ):
            found = await bucket_problems(client, BUCKET)
    assert [waiver for waiver, _ in found] == waivers


async def test_tags_of_objects_stop_the_move_unless_waived(tmp_path: Path) -> None:
    async with running_rig(tmp_path) as rig:
        await rig.fill([("plain", b"x"), ("tagged", b"y")])
        front = tmp_path / "front"
        async with knowing_more(front, rig.source, answers={}, tagged="tagged") as endpoint:
            ended = {}
            for waived in (frozenset[str](), frozenset({"tags"})):
                notes = Notes()
                engine = rig.engine(notes, replace(QUICK, waived=waived, adopt=True))
                there = replace(engine._move.source, endpoint=endpoint)
                engine._move = replace(engine._move, source=there)
                await engine.run()
                ended[bool(waived)] = notes
    assert (ended[False].ended, ended[True].ended) == (Stage.ERROR, Stage.DONE)
    assert "'tagged' has tags, which are not moved" in ended[False].message
    assert any("tags of objects are not moved" in line for line in ended[True].lines)
