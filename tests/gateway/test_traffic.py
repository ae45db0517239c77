"""What nginx has to do: read from its own counters."""

import pytest

from holdfast.gateway.service.traffic import TrafficMeter, parse_status
from holdfast.kernel.nginx import control_status
from tests.gateway.room import Room

SAID = (
    "Active connections: 12 \nserver accepts handled requests\n 40 40 310 \n"
    "Reading: 0 Writing: 3 Waiting: 9 \n"
)


def test_what_nginx_says_is_understood() -> None:
    assert parse_status(SAID) == (12, 310)
    assert parse_status("<html>404</html>") is None


@pytest.mark.real
async def test_the_control_server_tells_connections_and_a_rate(quick_room: Room) -> None:
    gateway, meter = quick_room.gateway, TrafficMeter()
    await quick_room.pool("one", "127.0.0.1:9")
    first = await meter.look(gateway)
    assert first is not None
    assert first.connections >= 1
    assert first.requests_per_second is not None
    assert first.requests_per_second < 100
    status, _ = await control_status(gateway.nginx.control_port, "/status")
    assert status == 200


def test_a_rate_needs_two_looks_and_begins_anew_with_nginx() -> None:
    meter = TrafficMeter()
    rates = []
    for requests, moment in ((100, 1.0), (110, 2.0), (200, 11.0), (5, 12.0), (105, 22.0)):
        meter.count(requests, moment)
        rates.append(meter.requests_per_second)
    assert rates == [None, None, 10.0, None, 10.0]
