"""Values that go into nginx files, checked by type. Each raises `Invalid` that says what to do.

``field`` is the name that the caller knows the value by; the value comes back in its plain form.
"""

import ipaddress
import re
from pathlib import PurePosixPath

from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.raw import check_raw

__all__ = [
    "BUCKET",
    "bucket_name",
    "check_raw",
    "file_path",
    "ip_rule",
    "key_prefix",
    "path_prefix",
    "pool_name",
    "region",
    "server_address",
    "server_name",
]

BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}"
_BREAKING = re.compile(r"[\x00-\x20\x7f;{}\"'\\$#]")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?", re.ASCII)
_MAX_PORT = 65535
_MAX_NAME = 253
_MAX_LABEL = 63
_MAX_PATH = 1024
_UNIX = re.compile(r"/[A-Za-z0-9._/@+-]+", re.ASCII)


def server_address(value: str, field: str = "address") -> str:
    """``host:port``, ``192.0.2.1:port``, ``[v6]:port`` or ``unix:/path``."""
    value = value.strip()
    _no_breaking(value, field)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not _UNIX.fullmatch(path) or ".." in path.split("/"):
            raise Invalid(f"{field}: {value!r} is not a socket", hint="write unix:/run/server.sock")
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not _is_port(port):
        raise Invalid(
            f"{field}: {value!r} has no port between 1 and 65535",
            hint="write host:port, [IPv6]:port or unix:/path",
        )
    if host.startswith("[") and host.endswith("]"):
        if not _is_ip(host[1:-1], ipaddress.IPv6Address) or "%" in host:
            raise Invalid(
                f"{field}: {host!r} is not an IPv6 address", hint="write [2001:db8::1]:80"
            )
    elif not _is_host(host):
        raise Invalid(f"{field}: {host!r} is neither a host name nor an IP address")
    return value


def server_name(value: str, field: str = "server_name") -> str:
    """A host name, ``*.`` and a host name, or an IP address; other scripts become punycode."""
    value = value.strip()
    _no_breaking(value, field)
    star, bare = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    try:
        ascii_name = bare if bare.isascii() else bare.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise Invalid(f"{field}: {value!r} cannot be written as a host name") from error
    name = star + ascii_name
    if len(name) > _MAX_NAME or not _is_host(ascii_name) or ascii_name.startswith("_"):
        raise Invalid(
            f"{field}: {value!r} is not a host name",
            hint="labels of letters, digits and '-', up to 63 each, joined by single dots",
        )
    return name


def file_path(value: str, field: str) -> str:
    """An absolute path of a file, such as a certificate."""
    value = value.strip()
    if not value.startswith("/") or re.search(r"[\x00-\x1f\x7f;{}\"'\\$]", value):
        raise Invalid(f"{field}: {value!r} is not an absolute path", hint="write /etc/ssl/site.pem")
    if ".." in PurePosixPath(value).parts or len(value) > _MAX_PATH:
        raise Invalid(f"{field}: {value!r} has '..' in it or is too long")
    return value


def path_prefix(value: str, field: str = "path_prefix") -> str:
    """The prefix of a route: ``/bucket``, ``/bucket/`` or deeper; not ``/`` itself."""
    if not re.fullmatch(r"(?:/[A-Za-z0-9._@-]+)+/?", value, re.ASCII) or len(value) > _MAX_PATH:
        start = (
            "must start with /" if not value.startswith("/") else "must match /name or /name/more"
        )
        raise Invalid(
            f"{field} {start}: {value!r}", hint="letters, digits and . _ @ - in each part"
        )
    if {".", "..", "_hf"} & set(value.split("/")):
        raise Invalid(f"{field}: {value!r} has '.', '..' or '_hf' as a part")
    return value


def key_prefix(value: str, field: str = "key_prefix") -> str:
    """Put before the rest of the path on the pool; given back without outer slashes."""
    value = value.strip("/")
    if not re.fullmatch(r"[A-Za-z0-9._@-]+(?:/[A-Za-z0-9._@-]+)*", value, re.ASCII):
        raise Invalid(f"{field}: {value!r} is not a path", hint="names joined by /, without spaces")
    if {".", ".."} & set(value.split("/")) or len(value) > _MAX_PATH:
        raise Invalid(f"{field}: {value!r} has '.' or '..' as a part, or is too long")
    return value


def bucket_name(value: str, field: str = "bucket") -> str:
    """A bucket that can have a route: its name goes into URLs and paths as it is."""
    if not re.fullmatch(BUCKET, value, re.ASCII):
        raise Invalid(f"{field}: {value!r} is not a bucket name", hint="letters, digits and . _ -")
    return value


def pool_name(value: str, field: str = "name") -> str:
    """A pool's name: also the name of its files, so never ``.`` or ``..``."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", value, re.ASCII) or value.startswith("."):
        raise Invalid(
            f"{field}: {value!r} is not a pool name",
            hint="up to 128 letters, digits, '.', '_' and '-', not beginning with a dot",
        )
    return value


def ip_rule(value: str, field: str = "ip_rule_ips") -> str:
    """An IP address or a network in CIDR form; host bits are refused: nginx would ignore them."""
    try:
        ipaddress.ip_network(value.strip())
    except ValueError as error:
        raise Invalid(
            f"{field}: {value!r} is neither an IP address nor a network: {error}",
            hint="write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
        ) from error
    return value.strip()


def region(value: str, field: str = "region") -> str:
    """An S3 region, ``us-east-1``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value, re.ASCII):
        raise Invalid(f"{field}: {value!r} is not a region", hint="write it like us-east-1")
    return value


def _no_breaking(value: str, field: str) -> None:
    found = _BREAKING.search(value)
    if found:
        raise Invalid(
            f"{field}: the character {found[0]!r} is not accepted",
            hint="it would end its place in the nginx file",
        )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PORT and text[0] != "0"


def _is_ip(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _is_host(name: str) -> bool:
    labels = name.split(".")
    if all(label.isascii() and label.isdigit() for label in labels):
        return _is_ip(name, ipaddress.IPv4Address)
    return all(len(label) <= _MAX_LABEL and _LABEL.fullmatch(label) for label in labels)
