"""The address of a server, from what it listens on; that may be all addresses of its machine."""

from socket import gethostname

_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound


def address_here(host: str, port: int) -> str:
    """For whoever is on its machine."""
    return _address(_HERE.get(host, host), port)


def address_elsewhere(host: str, port: int) -> str:
    """For whoever is on another machine; one that listens on its own alone is not reached."""
    return _address(gethostname() if host in _HERE else host, port)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
