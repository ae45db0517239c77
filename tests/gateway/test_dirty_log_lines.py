"""Nothing that an operator writes may silence the log by which buckets are moved."""

import re
from pathlib import Path

import pytest

from holdfast.gateway.render import vhost_files
from holdfast.gateway.render_model import RenderContext, RouteSpec, VhostSpec
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import validate

CONTEXT = RenderContext(nginx_dir=Path("/gw"), control_port=20000, access_logs=("off",))


def rendered(directives: str = "") -> str:
    route = RouteSpec(path_prefix="/b/", pool="a", extra_directives="proxy_read_timeout 9s;")
    vhost = VhostSpec(
        server_name="s3.example.com",
        ssl=False,
        listen_port=8000,
        default_pool="a",
        extra_directives=directives,
        routes=(route,),
    )
    files = vhost_files(vhost, CONTEXT)
    return next(text for path, text in files.items() if path.endswith(".conf"))


@pytest.mark.parametrize("directives", ["", "access_log off;", "access_log  off ;"])
def test_an_operators_access_log_off_does_not_reach_the_locations_of_writes(
    directives: str,
) -> None:
    text = rendered(directives)
    assert "hf_dirty if=$hf_track" in text
    for location in re.findall(r"location @[^{]*\{(.*?)\n    \}", text, re.DOTALL):
        assert not re.search(r"access_log\s+off", location)


def test_a_route_may_not_turn_its_log_off() -> None:
    with pytest.raises(Invalid, match="silence the log"):
        validate.check_raw("extra_directives", "access_log off;", "location")
