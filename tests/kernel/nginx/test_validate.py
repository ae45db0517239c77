"""No value can leave its place in an nginx file."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import validate
from holdfast.kernel.nginx.raw import MARKER, Place, check_raw
from holdfast.kernel.nginx.syntax import parse

GOOD: list[tuple[Callable[[str], str], str]] = [
    (validate.server_address, "10.0.0.1:9000"),
    (validate.server_address, "[2001:db8::1]:80"),
    (validate.server_address, "unix:/run/s3.sock"),
    (validate.server_address, "store-1.example.org:443"),
    (validate.server_name, "s3.example.org"),
    (validate.server_name, "*.example.org"),
    (lambda value: validate.file_path(value, "ssl_cert_path"), "/etc/ssl/site one.pem"),
    (validate.path_prefix, "/bucket/deeper/"),
    (validate.key_prefix, "store/a"),
    (validate.bucket_name, "my-bucket.2"),
    (validate.pool_name, "pool.a_1"),
    (validate.ip_rule, "10.0.0.0/8"),
    (validate.ip_rule, "2001:db8::/32"),
    (validate.region, "us-east-1"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_what_is_meant_is_accepted(check: Callable[[str], str], value: str) -> None:
    assert check(value) == value


@given(st.sampled_from(GOOD), st.sampled_from(list(";{}\"'\\$\0\n\r\t\x7f")), st.data())
def test_a_breaking_character_is_refused_in_every_field(
    good: tuple[Callable[[str], str], str], breaking: str, data: st.DataObject
) -> None:
    check, value = good
    at = data.draw(st.integers(1, len(value) - 1))
    with pytest.raises(Invalid):
        check(value[:at] + breaking + value[at:])


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:1; } server {", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:080",
        "999.1.1.1:80", "a..b:80", "-a:80", "[10.0.0.1]:80", "2001:db8::1:80", "[fe80::1%eth0]:80",
        "unix:", "unix:../x", "unix:/a/../b", "", ":80", "host:٣", "http://h:80", "a b:80",
    ],
)  # fmt: skip
def test_what_is_no_server_address_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.server_address(value)


@pytest.mark.parametrize(
    "value",
    [
        "a..b",
        "a.",
        ".a",
        "*",
        "*.*.a",
        "a.*",
        "x" * 64 + ".org",
        "a." * 130 + "b",
        "_",
        "a b",
        "",
        "-a",
        "~^x",
    ],
)
def test_what_is_no_server_name_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.server_name(value)


def test_a_name_in_another_script_becomes_punycode() -> None:
    assert validate.server_name("bücher.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize("value", ["999.1.1.1/99", "deed", "10.0.0.1/8", "10.0.0.0/33", "all", ""])
def test_what_is_no_network_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.ip_rule(value)


@pytest.mark.parametrize(
    "value", ["/", "//", "/a//b", "/../x", "/a/./b", "a", "/a b", "/_hf/gate", "/ä"]
)
def test_what_is_no_prefix_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.path_prefix(value)


@pytest.mark.parametrize("value", ["..", "a/../b", "a//b", "", "a b", "a?b"])
def test_what_is_no_key_prefix_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.key_prefix(value)


@pytest.mark.parametrize("value", [".", "..", ".hidden", "a/b", "a b", "", "x" * 129])
def test_what_is_no_pool_name_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        validate.pool_name(value)


ACCEPTED: list[tuple[str, Place]] = [
    ("", "server"),
    ("# only a comment with } and {", "server"),
    ("proxy_read_timeout 600s;\nadd_header X-A 'b; }' always;", "server"),
    ("location /.well-known/ { root /var/www; try_files $uri =404; }", "server"),
    ("if ($http_x = '') { return 403; }", "server"),
    ("access_log /var/log/nginx/s3.log combined;", "server"),
    ("proxy_set_header X-A b;", "location"),
    ("limit_req zone=a burst=5;", "location"),
]


@pytest.mark.parametrize(("text", "place"), ACCEPTED)
def test_ordinary_directives_are_accepted(text: str, place: Place) -> None:
    check_raw("extra_directives", text, place)


REFUSED: list[tuple[str, Place]] = [
    ("} server {", "server"),
    ("a b; } server { listen 1; location / { ", "server"),
    ("add_header A '", "server"),
    ('add_header A "b\\";', "server"),
    ("add_header A ${x; } server { listen 99; }", "server"),
    ("# hidden\n} #", "server"),
    ("proxy_read_timeout 5s", "server"),
    ("location / {", "server"),
    ("; x y;", "server"),
    ("include /etc/passwd;", "server"),
    ("location /x { include /etc/passwd; }", "server"),
    ("content_by_lua_block { os.execute('x') }", "location"),
    ("perl_set $x 'sub {}';", "server"),
    ("js_content x.y;", "location"),
    ("load_module x.so;", "server"),
    ("server { listen 1; }", "server"),
    ("proxy_pass http://elsewhere;", "location"),
    ("if ($x) { proxy_pass http://elsewhere; }", "server"),
    ("auth_request off;", "location"),
    ("limit_conn a 1;", "server"),
    ("root /;", "server"),
    ("access_log /etc/cron.d/x;", "server"),
    ("error_log /var/log/../../etc/x;", "server"),
    ("access_log $uri;", "server"),
    ("location /x { }", "location"),
    ("location = /_hf/gate { return 204; }", "server"),
    ("set $hf_pool x;", "server"),
    ("add_header A $hf_key;", "server"),
    ("add_header A ${hf_key};", "server"),
    (f"{MARKER} end", "server"),
    ("a\0b;", "server"),
    ("dav_methods PUT;", "location"),
]


@pytest.mark.parametrize(("text", "place"), REFUSED)
def test_raw_text_that_leaves_its_block_or_its_business_is_refused(text: str, place: Place) -> None:
    with pytest.raises(Invalid) as refused:
        check_raw("extra_directives", text, place)
    assert refused.value.message.startswith("extra_directives")


@given(st.text(alphabet="ab;{}#\"'\\$ \n{}", max_size=30))
def test_text_that_is_accepted_can_be_followed_by_a_directive_of_ours(text: str) -> None:
    """Whatever passes leaves the reader outside of quotes, comments, directives and blocks."""
    try:
        nodes = parse(text)
    except Invalid:
        return
    after = parse(f"server {{\n{text}\nours yes;\n}}")
    assert len(after) == 1
    block = after[0].block or []
    assert [node.words for node in block] == [node.words for node in nodes] + [("ours", "yes")]
