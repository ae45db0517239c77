"""The parts that the S3 client is made of: addresses, XML, times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import Invalid
from holdfast.kernel.stores.s3.address import endpoint_of, server_of
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.model import listing_time
from holdfast.kernel.stores.s3.xml import can_be_in_xml, complete_body, delete_body, read_xml


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("10.0.0.5:9000", "http://10.0.0.5:9000"),
        ("store-1.example.org", "http://store-1.example.org"),
        ("[fd00::5]:9000", "http://[fd00::5]:9000"),
        ("[::1]", "http://[::1]"),
    ],
)
def test_a_members_address_has_an_endpoint(address: str, endpoint: str) -> None:
    assert endpoint_of(address) == endpoint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Store.example.org", "http://store.example.org:80/"),
        ("store.example.org:443", "https://store.example.org"),
        ("[fd00::5]:9000", "http://[fd00::5]:9000"),
        ("unix:/run/s3.sock", "unix:/run/s3.sock"),
    ],
)
def test_one_server_is_known_by_its_address_and_its_endpoint(one: str, other: str) -> None:
    assert server_of(one) == server_of(other)
    assert server_of(one) != server_of("store.example.org:9001")


@pytest.mark.parametrize(
    "address",
    [
        "unix:/run/s3.sock",
        "",
        "host:",
        "host:0",
        "host:65536",
        "host:90a",
        "[::1",
        "[::1]x",
        "[::1%eth0]:1",
        "user@host:1",
        "host/path:1",
        "host:1/path",
        "host:1\n",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Invalid):
        endpoint_of(address)


@pytest.mark.parametrize("endpoint", ["", "10.0.0.5:9000", "ftp://a", "http://a/b", "http://a?b"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(Invalid):
        S3Client(endpoint, "", "")


@given(keys=st.lists(st.text(min_size=1).filter(can_be_in_xml), min_size=1))
def test_keys_in_a_body_are_read_back_as_they_were(keys: list[str]) -> None:
    document = read_xml(delete_body(keys))
    assert document.root == "Delete"
    assert [record["Key"] for name, record in document.records if name == "Object"] == keys


def test_parts_are_written_with_quoted_etags() -> None:
    document = read_xml(complete_body([(1, "e1"), (2, "e2")]))
    assert document.records == [
        ("Part", {"PartNumber": "1", "ETag": '"e1"'}),
        ("Part", {"PartNumber": "2", "ETag": '"e2"'}),
    ]


def test_times_of_listings_are_unix_times() -> None:
    assert listing_time("1970-01-01T00:01:00.900Z") == 60
    assert listing_time("soon") == 0
