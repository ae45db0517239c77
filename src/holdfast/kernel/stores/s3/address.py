"""From the address of a pool member to the endpoint that an S3 client can talk to."""

import re
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

from holdfast.kernel.errors import Invalid

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
MAX_PORT = 65535

_PORT = re.compile(r"[0-9]{1,5}")


def endpoint_of(address: str, *, scheme: str = "http") -> str:
    """The endpoint ``scheme://host[:port]`` of a member ``host[:port]`` or ``[v6][:port]``.

    Raises ``Invalid`` for a unix socket (there is no host to sign for) and for anything else that
    is not an address.
    """
    if address.startswith("unix:"):
        raise Invalid(
            "a unix socket cannot be reached as an S3 server",
            hint="give the member as host:port, or add a second member that listens on a port",
        )
    host, port = _split(address)
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def server_of(address: str) -> str:
    """``host:port`` of a member's address or of an endpoint: equal for the same server, if told so.

    Names are not resolved. What is no such address is given back as it is.
    """
    with_scheme = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(with_scheme)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return address
    return f"{parts.hostname}:{port}" if parts.hostname else address


def _split(address: str) -> tuple[str, str]:
    if address.startswith("["):
        inside, closed, rest = address[1:].partition("]")
        if not closed or not _is_v6(inside) or (rest and not rest.startswith(":")):
            raise _bad(address)
        host, port = f"[{inside}]", rest[1:]
        has_port = bool(rest)
    else:
        host, colon, port = address.partition(":")
        has_port = bool(colon)
        if not _HOST.fullmatch(host):
            raise _bad(address)
    if has_port and not (_PORT.fullmatch(port) and 0 < int(port) <= MAX_PORT):
        raise _bad(address)
    return host, port


def _is_v6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return "%" not in text


def _bad(address: str) -> Invalid:
    return Invalid(
        f"{address!r} is not host:port", hint="for example 10.0.0.5:9000 or [fd00::5]:9000"
    )
