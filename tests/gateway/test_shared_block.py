"""Plain vhosts share a server block; what a client sees is what a block of their own would do."""

from pathlib import Path

import pytest

from holdfast.gateway.flags import Flag, FlagState
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.render_model import RenderContext, ServedVhost
from tests.gateway.data_plane import Gateway, an_s3_vhost, running_gateway
from tests.kernel.nginx.lab import send

pytestmark = pytest.mark.real
STATIC = FlagState.STATIC


def served(
    name: str, *, port: int = 80, pool: str | None = "old", plain: bool = True
) -> ServedVhost:
    return ServedVhost(server_name=name, listen_port=port, default_pool=pool, has_nothing_own=plain)


def conf(*vhosts: ServedVhost, extra: tuple[str, ...] = ()) -> str:
    ctx = RenderContext(nginx_dir=Path("/srv/nginx"), control_port=29000)
    files = http_conf(ctx, generation=1, directory="/g", pools=["old"], vhosts=vhosts, extra=extra)
    return files["http.conf"]


def test_the_first_of_a_port_and_all_that_are_not_plain_keep_a_block_of_their_own() -> None:
    text = conf(
        served("a.x"),
        served("b.x"),
        served("c.x", plain=False),
        served("d.x", pool=None),
        served("*.e.x"),
        served("F.x"),
        served("g.x", port=81),
        served("h.x"),
    )
    shared = [line.split()[1].rstrip(";") for line in text.splitlines() if " server_name " in line]
    assert {"a.x", "b.x", "h.x"} == {name for name in shared if not name.startswith("holdfast")}
    own = [line for line in text.splitlines() if line.startswith("include /g/vhosts/")]
    assert own == [
        f"include /g/vhosts/{name}.con[f];" for name in ("[*].e.x", "F.x", "c.x", "d.x", "g.x")
    ]


def test_files_that_somebody_added_are_included_and_sidecars_are_not() -> None:
    text = conf(extra=("vhosts/by-hand.conf", "vhosts/x.meta.json", "pools/p.conf"))
    assert [line for line in text.splitlines() if line.startswith("include /g/vhosts")] == [
        "include /g/vhosts/by-hand.con[f];"
    ]


async def test_each_of_them_has_its_own_flags_and_the_port_and_dots_do_not_matter(
    tmp_path: Path,
) -> None:
    async with running_gateway(tmp_path) as gateway:
        names = ("one.localhost", "two.localhost")
        vhosts = [an_s3_vhost(gateway.port, server_name=name) for name in names]
        await gateway.apply(vhosts)
        assert "server_name two.localhost" in (gateway.root / "live" / "http.conf").read_text()
        flag = Flag(epoch=1, state=STATIC, pool_alias="pool_d")
        gateway.flags.set_flag("two.localhost", "bkt", flag)
        assert await answers(gateway, "one.localhost") == "S"
        assert await answers(gateway, "two.localhost") == "D"
        assert await answers(gateway, f"TWO.localhost.:{gateway.port}") == "D"
        assert await answers(gateway, "unknown.localhost") == "S"


async def test_a_file_that_somebody_removed_does_not_stop_the_next_change(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        (gateway.root / "live" / "vhosts" / "0.localhost.conf").unlink()
        assert (await gateway.nginx.test_live()).ok


async def answers(gateway: Gateway, host: str) -> str:
    """Which pool a GET with this Host reaches."""
    answer = await send(gateway.port, "GET", "/bkt/key", host=host)
    return answer.body.split()[0]
