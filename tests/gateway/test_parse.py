"""What is rendered parses back the same; what the older tool wrote is understood."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.flags import Flag, FlagState, RouteFlags
from holdfast.gateway.parse import flag_routes, parse_files, parse_pool, parse_vhost
from holdfast.gateway.render import by_length, pool_files, vhost_files
from holdfast.gateway.render_model import (
    BlockSpec,
    MemberSpec,
    PoolSpec,
    PoolType,
    RenderContext,
    RouteSpec,
    VhostSpec,
    pool_alias,
)

CTX = RenderContext(nginx_dir=Path("/srv/gw"), control_port=20001)
NAMES = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}", fullmatch=True)
ADDRESSES = st.sampled_from(
    ["10.0.0.1:80", "[2001:db8::1]:9000", "unix:/run/s3.sock", "store.example:9000", "10.0.0.2:81"]
)
IDS = st.none() | st.integers(1, 10**6)
RAW = st.sampled_from(
    [
        "",
        "proxy_read_timeout 5s;",
        "add_header X-A 'b; }' always;\n\n  # a } comment\nclient_body_timeout 3s;",
    ]
)
TIMES = st.sampled_from(["", "2026-11-21T08:00:00Z"])


@st.composite
def pools(draw: st.DrawFn) -> PoolSpec:
    kind: PoolType = draw(st.sampled_from(["nanio", "http"]))
    roles = ["active"] if kind == "nanio" else ["primary", "replica"]
    members = st.builds(
        MemberSpec,
        address=ADDRESSES,
        role=st.sampled_from(roles),
        weight=st.integers(1, 100),
        max_fails=st.integers(0, 100),
        fail_timeout_s=st.integers(0, 600),
        enabled=st.booleans(),
        id=IDS,
    )
    methods = ["round_robin", "least_conn"] if kind == "http" else ["least_conn", "ip_hash"]
    source = draw(st.none() | NAMES)
    return PoolSpec(
        name=draw(NAMES),
        type=kind,
        description=draw(st.none() | st.text()),
        lb_method=draw(st.sampled_from(methods)),
        keepalive=draw(st.integers(0, 1024)),
        members=tuple(draw(st.lists(members, max_size=4, unique_by=lambda m: m.address))),
        source_pool=source,
        source_pool_id=draw(IDS) if source else None,
        credentials=draw(st.none() | st.just({"access_key_enc": "x", "region": "us-east-1"})),
        id=draw(IDS),
        updated_at=draw(TIMES),
    )


PREFIXES = st.from_regex(
    r"/[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,20}(/[A-Za-z0-9_-]{1,9})?/?", fullmatch=True
)
ROUTES = st.builds(
    RouteSpec,
    path_prefix=PREFIXES,
    pool=NAMES,
    key_prefix=st.none() | st.just("store/a"),
    extra_directives=RAW,
    enabled=st.booleans(),
    id=IDS,
)


@st.composite
def vhosts(draw: st.DrawFn) -> VhostSpec:
    routes = draw(st.lists(ROUTES, max_size=4, unique_by=lambda r: r.path_prefix.strip("/")))
    blocks = st.builds(
        BlockSpec,
        zone=st.sampled_from(["top", "ssl", "proxy", "end"]),
        content=st.sampled_from(
            ["add_header A b;", "location /x {\n  return 204;\n}", "# only a comment"]
        ),
    )
    return VhostSpec(
        server_name=draw(st.sampled_from(["s3.local", "*.example.org", "10.0.0.9"])),
        listen_port=draw(st.integers(1, 65535)),
        ssl=draw(st.booleans()),
        ssl_cert_path="/etc/ssl/a b.pem",
        ssl_key_path="/etc/ssl/a.key",
        type=draw(st.sampled_from(["nanio", "http"])),
        extra_directives=draw(RAW),
        extra_blocks=tuple(draw(st.lists(blocks, max_size=4))),
        enabled=draw(st.booleans()),
        default_pool=draw(st.none() | NAMES),
        ip_rule_mode=draw(st.sampled_from([None, "allow", "deny"])),
        ip_rules=draw(st.sampled_from([("10.0.0.0/8",), ("2001:db8::/32", "192.0.2.7")])),
        routes=tuple(by_length(r for r in routes if not r.is_plain_bucket)),
        id=draw(IDS),
        updated_at=draw(TIMES),
    )


@given(pools())
def test_a_rendered_pool_parses_back_the_same(pool: PoolSpec) -> None:
    conf, meta = pool_files(pool).values()
    assert parse_pool(pool.name, conf, meta) == pool
    assert parse_pool(pool.name, None, meta) == pool


@given(vhosts())
def test_a_rendered_vhost_parses_back_the_same(vhost: VhostSpec) -> None:
    files = vhost_files(vhost, CTX)
    meta = files[f"vhosts/{vhost.server_name}.meta.json"]
    conf = files.get(f"vhosts/{vhost.server_name}.conf")
    assert parse_vhost(vhost.server_name, conf, meta) == vhost
    assert parse_vhost(vhost.server_name, None, meta) == vhost


@given(pools(), vhosts())
def test_rendering_what_was_parsed_gives_the_same_files(pool: PoolSpec, vhost: VhostSpec) -> None:
    files = {
        **pool_files(pool),
        **vhost_files(replace(vhost, default_pool=pool.name, routes=(), type=pool.type), CTX),
    }
    spec = parse_files(files)
    again = {**pool_files(spec.pools[0]), **vhost_files(spec.vhosts[0], CTX)}
    assert again == files
    assert spec.warnings == ()


OWN_ROUTE = RouteSpec(path_prefix="/photos/", pool="fast", extra_directives="gzip on;", id=8)


def test_the_pool_of_a_bucket_route_is_not_in_the_file_that_nginx_reads() -> None:
    """So that a move, which changes only that, needs no reload."""
    spec = VhostSpec(server_name="s3.local", ssl=False, default_pool="slow", routes=(OWN_ROUTE,))
    there = replace(spec, routes=(replace(OWN_ROUTE, pool="slow"),))
    one, other = vhost_files(spec, CTX), vhost_files(there, CTX)
    assert one["vhosts/s3.local.conf"] == other["vhosts/s3.local.conf"]
    assert one != other


def test_without_its_sidecar_a_bucket_route_goes_where_its_flag_says(tmp_path: Path) -> None:
    spec = VhostSpec(server_name="s3.local", ssl=False, default_pool="slow", routes=(OWN_ROUTE,))
    files = vhost_files(spec, CTX)
    del files["vhosts/s3.local.meta.json"]
    files |= pool_files(PoolSpec(name="fast")) | pool_files(PoolSpec(name="slow"))
    flags = RouteFlags(tmp_path)
    assert parse_files(files, flags).vhosts[0].routes[0].pool == "slow", "as nginx does"
    flags.set_flag("s3.local", "photos", Flag(epoch=1, state=FlagState.STATIC, pool_alias="fast"))
    found = parse_files(files, flags)
    assert (found.vhosts[0].routes, found.warnings) == ((OWN_ROUTE,), ())


@pytest.mark.parametrize(("default", "named"), [("slow", True), (None, True), ("fast", False)])
def test_a_file_that_still_names_the_pool_of_a_bucket_route_is_read(
    default: str | None, named: bool
) -> None:
    spec = VhostSpec(server_name="s3.local", ssl=False, default_pool=default, routes=(OWN_ROUTE,))
    conf = vhost_files(spec, CTX)["vhosts/s3.local.conf"]
    conf = conf.replace("prefix:/photos/ bucket", "prefix:/photos/ pool:fast bucket")
    if named:  # a pool other than the default one was set in the location
        head = "location /photos/ {"
        for at in ("location = /photos {", head):
            conf = conf.replace(at, f"{at} set $hf_default_pool fast;")
    assert parse_vhost("s3.local", conf, None).routes == (OWN_ROUTE,)


def test_an_edit_in_the_file_wins_over_the_sidecar() -> None:
    pool = PoolSpec(name="p", members=(MemberSpec(address="10.0.0.1:80", id=7),))
    conf, meta = pool_files(pool).values()
    edited = conf.replace("weight=1", "weight=9").replace("keepalive 32", "keepalive 4")
    found = parse_pool("p", edited, meta)
    assert (found.members[0].weight, found.members[0].id, found.keepalive) == (9, 7, 4)


def test_a_vhost_keeps_directives_that_were_edited_in_the_file() -> None:
    vhost = VhostSpec(server_name="s3.local", ssl=False, extra_directives="proxy_read_timeout 5s;")
    files = vhost_files(vhost, CTX)
    conf, meta = files["vhosts/s3.local.conf"], files["vhosts/s3.local.meta.json"]
    found = parse_vhost(
        "s3.local", conf.replace("proxy_read_timeout 5s", "proxy_read_timeout 9s"), meta
    )
    assert found.extra_directives == "proxy_read_timeout 9s;"


def test_a_broken_file_is_a_warning_and_the_rest_is_read() -> None:
    good = pool_files(PoolSpec(name="good", members=(MemberSpec(address="10.0.0.1:80"),)))
    spec = parse_files({**good, "pools/bad.conf": "upstream bad {", "vhosts/v.conf": "# nothing"})
    assert [pool.name for pool in spec.pools] == ["good"]
    assert [warning.split(":")[0] for warning in spec.warnings] == ["pools/bad", "vhosts/v"]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("pools/p.conf", "weight=1", "weight=heavy"),
        ("pools/p.conf", "keepalive 32", "keepalive"),
        ("pools/p.meta.json", '"address"', '"adress"'),
        ("pools/p.meta.json", '"members": [', '"members": [7, '),
        ("vhosts/v.example.conf", "listen 443 ssl", "listen all ssl"),
        ("vhosts/v.example.meta.json", '"routes": []', '"routes": [{"path_prefix": 3}]'),
    ],
)
def test_a_value_of_another_kind_is_a_warning_not_a_fault(path: str, old: str, new: str) -> None:
    pool = PoolSpec(name="p", members=(MemberSpec(address="10.0.0.1:80"),))
    vhost = VhostSpec(server_name="v.example", ssl_cert_path="/c", ssl_key_path="/k")
    files = {**pool_files(pool), **vhost_files(vhost, CTX)}
    assert old in files[path]
    spec = parse_files({**files, path: files[path].replace(old, new)})
    assert [path.startswith(warning.split(":")[0]) for warning in spec.warnings] == [True]


OLDER_POOL = """# managed by nanio-orchestrator
# pool_id:3 name:fast type:nanio updated:2025-01-02T03:04:05Z
upstream fast {
    least_conn;
    server 10.0.0.5:9000 weight=2 max_fails=3 fail_timeout=30s;
    server 10.0.0.6:9000 weight=1 max_fails=1 fail_timeout=1m;
    keepalive 16;
}
"""
OLDER_VHOST = """# managed by nanio-orchestrator
# vhost_id:1 name:s3.example.org updated:2025-01-02T03:04:05Z
server {
    listen 443 ssl;
    http2  on;
    server_name s3.example.org;
    add_header X-Top yes;
    allow 10.0.0.0/8;
    deny all;
    ssl_certificate     /etc/ssl/c.pem;
    ssl_certificate_key /etc/ssl/k.pem;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering         off;
    proxy_read_timeout 600s;
    # route_id:8 prefix:/photos/ [LIVE MIGRATION → slow]
    location /photos/ {
        error_page 418 = @nanio_mig_8;
        if ($request_method !~ ^(GET|HEAD|OPTIONS)$) { return 418; }
        proxy_intercept_errors on;
        error_page 404 = @nanio_mig_8;
        rewrite ^/photos/(.*)$ /archive/2024/$1 break;
        proxy_pass         http://fast;
        proxy_http_version 1.1;
        proxy_set_header   Host              $host;
        proxy_set_header   X-Real-IP         $remote_addr;
        proxy_set_header   X-Forwarded-For   $proxy_add_x_forwarded_for;
        proxy_set_header   Connection        "";
    }
    # route_id:2 prefix:/
    location / {
        proxy_pass         http://slow;
    }
    location @nanio_mig_8 { proxy_pass http://slow; }
}
"""
OLDER_META = {
    "vhost_id": 1,
    "server_name": "s3.example.org",
    "default_pool_name": "slow",
    "extra_blocks_json": json.dumps([{"zone": "top", "content": "add_header X-Top yes;"}]),
    "ip_rule_mode": "allow",
    "ip_rule_ips_json": '["10.0.0.0/8"]',
    "updated_at": "2025-01-02T03:04:05Z",
}


def test_a_pool_of_the_older_tool_is_read_without_a_sidecar() -> None:
    pool = parse_pool("fast", OLDER_POOL, None)
    assert (pool.id, pool.type, pool.lb_method, pool.keepalive) == (3, "nanio", "least_conn", 16)
    assert [(m.address, m.weight, m.max_fails, m.fail_timeout_s, m.role) for m in pool.members] == [
        ("10.0.0.5:9000", 2, 3, 30, "active"),
        ("10.0.0.6:9000", 1, 1, 60, "active"),
    ]


def test_a_vhost_of_the_older_tool_is_read_also_during_its_migration() -> None:
    vhost = parse_vhost("s3.example.org", OLDER_VHOST, json.dumps(OLDER_META))
    assert vhost == VhostSpec(
        server_name="s3.example.org",
        ssl_cert_path="/etc/ssl/c.pem",
        ssl_key_path="/etc/ssl/k.pem",
        extra_directives="proxy_read_timeout 600s;",
        extra_blocks=(BlockSpec(zone="top", content="add_header X-Top yes;"),),
        default_pool="slow",
        ip_rule_mode="allow",
        ip_rules=("10.0.0.0/8",),
        routes=(RouteSpec(path_prefix="/photos/", pool="fast", key_prefix="archive/2024", id=8),),
        id=1,
        updated_at="2025-01-02T03:04:05Z",
    )


def test_readers_of_the_older_format_find_the_source_pool_by_its_id() -> None:
    web = PoolSpec(name="web", type="http", source_pool="fast", source_pool_id=3)
    meta = json.loads(pool_files(web)["pools/web.meta.json"])
    assert (meta["source_nanio_pool_id"], meta["source_nanio_pool_name"]) == (3, "fast")
    alone = json.loads(pool_files(PoolSpec(name="fast"))["pools/fast.meta.json"])
    assert "source_nanio_pool_id" not in alone


def test_the_older_tools_source_pool_is_found_by_its_id() -> None:
    web = {"pool_id": 4, "name": "web", "type": "http", "source_nanio_pool_id": 3}
    files = {"pools/fast.conf": OLDER_POOL, "pools/web.meta.json": json.dumps(web)}
    assert parse_files(files).pools[1].source_pool == "fast"


@pytest.mark.parametrize(
    ("state", "pool"), [(FlagState.SRC, "my.pool"), (FlagState.HOLDD, "b"), (FlagState.DST, "b")]
)
def test_a_flag_is_a_route_to_the_pool_that_answers(
    tmp_path: Path, state: FlagState, pool: str
) -> None:
    flags = RouteFlags(tmp_path)
    flag = Flag(
        epoch=1, state=state, pool_alias=pool_alias("my.pool"), target_alias="b", gate_port=9
    )
    flags.set_flag("v", "bkt", flag)
    flags.set_flag("v", "gone", Flag(epoch=1, state=FlagState.STATIC, pool_alias="removed"))
    assert flag_routes(flags, "v", ["my.pool", "b"]) == [RouteSpec(path_prefix="/bkt/", pool=pool)]
