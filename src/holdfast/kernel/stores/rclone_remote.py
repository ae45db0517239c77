"""A remote of rclone: its kind, its options, and the secrets in them."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.kernel.errors import Invalid

_RUNS_PROGRAMS = ("ssh", "command")
"""Ends of the names of options whose value rclone would run as a program."""

_OTHER_REMOTES = frozenset({"remote", "upstreams"})
"""Options of remotes that stand on another; that one's options come in their value."""

_ADDRESS = frozenset({"host", "port", "user", "url", "endpoint"})

_SECRET_NAME = re.compile(r"pass|secret|token|credential|key|header|cookie|2fa|_proxy")
_NO_SECRET = re.compile(
    r".*_(?:command|file|url|expiry)|pubkey|host_keys|host_key_algorithms|key_exchange"
    r"|key_use_agent|pin_host_key|ask_password|client_credentials|pass_bad_blocks"
    r"|bypass_governance_retention"
)
"""Names that look like a secret's, of options that hold none."""
_LOGIN = re.compile(r"://[^/?#]*@|^(?:[a-z0-9+.-]+://)?+[^@]*:[^@]*@", re.IGNORECASE)
_PARTS = re.compile(r"[,@=\s]|://|:(?=[^/]*@)")
SHORTEST_SECRET = 4
"""What is shorter would take half of every message with it."""

_WORDS = frozenset({"true", "false"})

Obscure = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOption:
    """An option of a kind of remote, as rclone tells it."""

    name: str
    is_password: bool
    """rclone takes it obscured."""
    is_sensitive: bool
    """rclone would not show it; some of these are no secrets, such as a host."""
    is_required: bool = False
    is_advanced: bool = False
    help: str = ""
    """Its first sentence."""


def options_of(provider: Mapping[str, Any]) -> dict[str, RemoteOption]:
    """A provider's options by name."""
    return {
        option["Name"]: RemoteOption(
            name=option["Name"],
            is_password=bool(option["IsPassword"]),
            is_sensitive=bool(option.get("Sensitive")),
            is_required=bool(option.get("Required")),
            is_advanced=bool(option.get("Advanced")),
            help=str(option.get("Help") or "").strip().partition("\n")[0],
        )
        for option in provider["Options"]
    }


def names_secret(name: str) -> bool:
    """Whether an option of this name holds a secret, also one that rclone does not call that."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.fullmatch(name)


def has_login(value: str) -> bool:
    """Whether a value may be an address with a password or token in it, such as ``me:pass@host``.

    An address with a port and an ``@`` in its path looks the same.
    """
    return bool(_LOGIN.search(value))


class Remote:
    """``kind`` as rclone names it (sftp, webdav, local), its options in clear, and a root in it.

    A bucket is the first part of the root. An sftp remote must name a ``known_hosts_file``, and no
    option may hold a program to run: ``Invalid``.
    """

    def __init__(
        self,
        kind: str,
        options: Mapping[str, str],
        root: str,
        *,
        secret: frozenset[str] = frozenset(),
    ) -> None:
        """``secret``: names of options nobody should see, besides those that say so themselves."""
        self.kind = kind
        self.root = root
        self.name = f"hf-{secrets.token_hex(8)}"
        self.obscured: dict[str, str] = {}
        """The options as rclone takes them; empty before `prepare`."""
        self._options = dict(options)
        self._secret = secret
        if kind == "sftp" and options.get("known_hosts_file", "none") == "none":
            raise Invalid(
                "an sftp remote needs the keys of its host",
                hint="put a line of ssh-keyscan in a file, and name it in known_hosts_file",
            )
        for name in options:
            if name.endswith(_RUNS_PROGRAMS):
                raise Invalid(f"the option {name!r} would run a program, and is not accepted")
            if name in _OTHER_REMOTES:
                raise Invalid(
                    f"the option {name!r} names another remote, whose options nobody checks",
                    hint="use the store that it stands on",
                )

    def __repr__(self) -> str:
        return f"Remote({self.kind!r}, root={self.root!r})"

    @property
    def address(self) -> dict[str, str]:
        """The options that say where it is and as whom it is entered. Not to be shown as it is."""
        return {name: value for name, value in self._options.items() if name in _ADDRESS}

    @property
    def fs(self) -> str:
        """How rclone's calls name the root, once the remote was told to the daemon."""
        return f"{self.name}:{self.root}"

    def anchored(self, path: str) -> tuple[str, str]:
        """The remote without folders, and the path in it: some calls take no ``]`` in a root."""
        root = self.root.strip("/")
        anchor = f"{self.name}:/" if self.root.startswith("/") else f"{self.name}:"
        return anchor, f"{root}/{path}" if root else path

    async def prepare(self, known: Mapping[str, RemoteOption], obscure: Obscure) -> None:
        """Check the options' names, and obscure the passwords among their values."""
        unknown = sorted(set(self._options) - set(known))
        if unknown:
            raise Invalid(f"rclone's {self.kind} has no option {', '.join(unknown)}")
        self.obscured = {
            name: await obscure(value) if known[name].is_password and value else value
            for name, value in self._options.items()
        }

    def environment(self) -> dict[str, str]:
        """The same remote for a process of its own, which names it ``hf:``."""
        told = {f"RCLONE_CONFIG_HF_{name.upper()}": value for name, value in self.obscured.items()}
        return {"RCLONE_CONFIG_HF_TYPE": self.kind, **told}

    def hide(self, text: str) -> str:
        """A text without the values of this remote that nobody should see."""
        for given in (self._options, self.obscured):
            for name, value in given.items():
                if name in self._secret or names_secret(name) or has_login(value):
                    for part in _secret_parts(value):
                        text = text.replace(part, "***")
        return text


def _secret_parts(value: str) -> list[str]:
    """The value, and what of a header or of an address with a login may be told by itself."""
    parts = {value, *_PARTS.split(value)} if has_login(value) or "," in value else {value}
    fit = (part for part in parts if len(part) >= SHORTEST_SECRET and part not in _WORDS)
    return sorted(fit, key=len, reverse=True)
