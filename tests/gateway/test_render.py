"""Rendered files: what they say, and that a real nginx takes them."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.render import pool_files, render_pool, render_vhost, vhost_files
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.render_model import (
    BlockSpec,
    MemberSpec,
    PoolSpec,
    RenderContext,
    RouteSpec,
    VhostSpec,
)
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import Generations, Nginx
from holdfast.kernel.process import run
from tests.gateway.data_plane import served_as
from tests.kernel.nginx.lab import nginx_lab

CTX = RenderContext(nginx_dir=Path("/srv/gw"), control_port=20001)
MEMBER = MemberSpec(address="10.0.0.1:9000")
PLAIN = VhostSpec(server_name="s3.local", listen_port=8080, ssl=False, default_pool="a")


def test_a_pool_has_the_form_that_readers_of_the_older_tool_know() -> None:
    pool = PoolSpec(name="fast", members=(MEMBER,), id=3, updated_at="2026-01-02T03:04:05Z")
    assert render_pool(pool) == (
        "# managed by holdfast\n"
        "# pool_id:3 name:fast type:nanio updated:2026-01-02T03:04:05Z\n"
        "upstream fast {\n"
        "    least_conn;\n"
        "    server 10.0.0.1:9000 weight=1 max_fails=3 fail_timeout=30s;\n"
        "    keepalive 32;\n"
        "    keepalive_timeout 2s;\n"
        "}\n"
    )


def test_a_replica_is_a_backup_unless_nothing_else_is_enabled() -> None:
    replica = MemberSpec(address="10.0.0.2:80", role="replica")
    primary = MemberSpec(address="10.0.0.1:80", role="primary")
    pool = PoolSpec(name="web", type="http", members=(primary, replica))
    assert "server 10.0.0.2:80 backup;" in render_pool(pool)
    alone = replace(pool, members=(replace(primary, enabled=False), replica))
    assert "backup" not in render_pool(alone)
    assert "10.0.0.2:80" in render_pool(alone)


def test_ip_hash_with_a_replica_is_refused_with_the_reason() -> None:
    members = (
        MemberSpec(address="a:80", role="primary"),
        MemberSpec(address="b:80", role="replica"),
    )
    with pytest.raises(Invalid, match="ip_hash"):
        render_pool(PoolSpec(name="web", type="http", lb_method="ip_hash", members=members))


def test_a_disabled_vhost_has_only_its_sidecar() -> None:
    assert list(vhost_files(replace(PLAIN, enabled=False), CTX)) == ["vhosts/s3.local.meta.json"]


def test_a_plain_bucket_route_is_in_no_file() -> None:
    route = RouteSpec(path_prefix="/photos/", pool="b")
    assert vhost_files(replace(PLAIN, routes=(route,)), CTX) == vhost_files(PLAIN, CTX)


@pytest.mark.parametrize(
    ("prefix", "fields", "bucket", "plain"),
    [
        ("/photos", {}, "photos", True),
        ("/photos/", {}, "photos", True),
        ("/photos/", {"enabled": False}, "photos", False),
        ("/photos/", {"extra_directives": "proxy_read_timeout 1s;"}, "photos", False),
        ("/photos/", {"key_prefix": "x"}, None, False),
        ("/photos/2024/", {}, None, False),
        ("/x", {}, None, False),
        ("/@x/", {}, None, False),
    ],
)
def test_which_routes_are_mere_flags(
    prefix: str, fields: dict[str, object], bucket: str | None, plain: bool
) -> None:
    route = RouteSpec(path_prefix=prefix, pool="a", **fields)  # type: ignore[arg-type]
    assert (route.bucket, route.is_plain_bucket) == (bucket, plain)


@pytest.mark.parametrize(
    "broken",
    [
        replace(PLAIN, server_name="a; } server {"),
        replace(PLAIN, default_pool="x; }"),
        replace(PLAIN, ip_rule_mode="allow", ip_rules=("10.0.0.1; }",)),
        replace(PLAIN, ssl=True, ssl_cert_path="/x; }", ssl_key_path="/y"),
        replace(PLAIN, extra_directives="} server {"),
        replace(PLAIN, extra_blocks=(BlockSpec(zone="end", content="}"),)),
        replace(PLAIN, routes=(RouteSpec(path_prefix="/a/b/", pool="x; }"),)),
    ],
)
def test_the_renderer_refuses_by_itself_what_would_leave_its_place(broken: VhostSpec) -> None:
    with pytest.raises(Invalid):
        render_vhost(broken, CTX)


@given(st.text(min_size=1, max_size=12).filter(lambda t: any(c in t for c in ";{}\"'\\$\n\0")))
def test_no_address_with_a_breaking_character_is_rendered(address: str) -> None:
    with pytest.raises(Invalid):
        render_pool(PoolSpec(name="p", members=(MemberSpec(address=address),)))


@pytest.mark.parametrize(
    ("style", "expected"), [("listen", "ssl http2;"), ("directive", "http2  on;")]
)
def test_http2_is_written_as_the_installed_nginx_wants_it(style: str, expected: str) -> None:
    vhost = replace(PLAIN, ssl=True, ssl_cert_path="/c.pem", ssl_key_path="/k.pem")
    text = render_vhost(vhost, replace(CTX, http2=style))  # type: ignore[arg-type]
    assert expected in text
    assert text.count("http2") == 1


def test_the_host_keeps_its_port() -> None:
    text = render_vhost(PLAIN, CTX)
    assert "proxy_set_header Host $http_host;" in text
    assert "$host;" not in text


async def certificate(folder: Path) -> tuple[str, str]:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    argv += ["-subj", "/CN=s3.local", "-keyout", key, "-out", cert]
    await run(argv, timeout_seconds=60)
    return cert, key


def everything(cert: str, key: str) -> VhostSpec:
    """A vhost that uses every field."""
    own = "proxy_set_header Host fixed;\nproxy_set_header X-Own yes;\nproxy_read_timeout 9s;"
    route = (
        "proxy_set_header X-Route yes;\nclient_body_buffer_size 1m;\nproxy_request_buffering on;"
    )
    return VhostSpec(
        server_name="*.example.org",
        listen_port=28443,
        ssl_cert_path=cert,
        ssl_key_path=key,
        extra_directives=f"{own}\nproxy_buffering on;\naccess_log logs/own.log combined;",
        extra_blocks=(
            BlockSpec(zone="top", content="# top\nadd_header A b always;"),
            BlockSpec(zone="ssl", content="ssl_protocols TLSv1.2 TLSv1.3;"),
            BlockSpec(zone="proxy", content="client_max_body_size 1g;"),
            BlockSpec(zone="end", content="location /own/ { root /var/www; }"),
        ),
        default_pool="a",
        ip_rule_mode="allow",
        ip_rules=("10.0.0.0/8", "2001:db8::/32"),
        routes=(
            RouteSpec(path_prefix="/bkt/", pool="my.pool", extra_directives=route),
            RouteSpec(path_prefix="/team/a", pool="empty", extra_directives="expires 1h;"),
            RouteSpec(path_prefix="/team/@b/", pool="a", key_prefix="k/p"),
            RouteSpec(path_prefix="/off/", pool="a", enabled=False),
        ),
    )


SOCKET = replace(MEMBER, address="unix:/run/x")
POOLS = (
    PoolSpec(name="a", members=(MEMBER, replace(MEMBER, address="[::1]:9000", weight=3))),
    PoolSpec(name="my.pool", lb_method="ip_hash", members=(SOCKET,)),
    PoolSpec(name="empty", keepalive=0),
    PoolSpec(name="off", members=(replace(MEMBER, enabled=False),)),
)


@pytest.mark.real
async def test_nginx_takes_a_generation_without_pools_and_vhosts(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "gw")
    generations.ensure()
    async with nginx_lab(tmp_path / "op") as lab:
        nginx = Nginx(lab.command, generations.root)
        lab.write_main(nginx.include_line)
        ctx = RenderContext(nginx_dir=generations.root, control_port=nginx.control_port)
        directory = str(generations.directory(generations.next_number()))
        files = http_conf(ctx, generation=2, directory=directory, pools=())
        tested = await nginx.test(generations.prepare(files, author="ann", reason="test"))
        assert (tested.ok, "[warn]" in tested.output) == (True, False), tested.output


@pytest.mark.real
@pytest.mark.parametrize("kind", ["nanio", "http"])
async def test_nginx_takes_a_vhost_that_uses_every_field(tmp_path: Path, kind: str) -> None:
    generations = Generations(tmp_path / "gw")
    generations.ensure()
    cert, key = await certificate(tmp_path)
    async with nginx_lab(tmp_path / "op") as lab:
        nginx = Nginx(lab.command, generations.root)
        lab.write_main(nginx.include_line)
        http2 = (await nginx.build()).http2
        ctx = RenderContext(
            nginx_dir=generations.root,
            control_port=nginx.control_port,
            http2=http2,  # type: ignore[arg-type]
            access_logs=("logs/access.log combined",),
        )
        number = generations.next_number()
        directory = str(generations.directory(number))
        names = [pool.name for pool in POOLS]
        full = replace(everything(cert, key), type=kind)  # type: ignore[arg-type]
        bare = VhostSpec(server_name="bare.example", listen_port=28080, ssl=False)
        long = replace(bare, server_name=".".join(["l" * 60] * 4))
        vhosts = (full, replace(bare, type=kind), long)  # type: ignore[arg-type]
        served = [served_as(vhost) for vhost in vhosts]
        files = http_conf(ctx, generation=number, directory=directory, pools=names, vhosts=served)
        for pool in POOLS:
            files |= pool_files(pool)
        for vhost in vhosts:
            files |= vhost_files(vhost, ctx)
        candidate = generations.prepare(files, author="ann", reason="test")
        tested = await nginx.test(candidate)
        assert tested.ok, tested.output
        assert "[warn]" not in tested.output
