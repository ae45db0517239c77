"""What a routing flag says: the format of docs/reference/routing-flags.md, without the disk."""

import re
from dataclasses import dataclass
from enum import StrEnum

from holdfast.kernel.errors import Invalid

_FLAG = re.compile(
    r"e(?P<epoch>[1-9][0-9]{0,17})\.(?P<state>static|src|hold|holdd|dst)\.(?P<pool>[A-Za-z0-9_-]{1,80})"
    r"(?:\.(?P<target>[A-Za-z0-9_-]{1,80})(?:\.g(?P<port>[1-9][0-9]{0,4}))?)?",
    re.ASCII,
)
DEFAULT_KEY = "default"
"""Stands in the counter key for a bucket without a flag."""
_MAX_PORT = 65535


class FlagState(StrEnum):
    """Who answers for a bucket; see the table in docs/reference/routing-flags.md."""

    STATIC = "static"
    SRC = "src"
    HOLD = "hold"
    HOLDD = "holdd"
    DST = "dst"


_GATED = frozenset({FlagState.HOLD, FlagState.HOLDD, FlagState.DST})
"""States whose flag names the port of the process that drives the migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One value of a routing flag. A bucket never has the same epoch twice."""

    epoch: int
    state: FlagState
    pool_alias: str
    target_alias: str | None = None
    gate_port: int | None = None

    def __post_init__(self) -> None:
        """Refuse what nginx would not read as it is meant."""
        if _FLAG.fullmatch(self.name) is None or (self.gate_port or 0) > _MAX_PORT:
            raise Invalid(f"{self.name!r} is not a routing flag")
        if (self.state is FlagState.STATIC) != (self.target_alias is None):
            raise Invalid(f"{self.name!r}: a static flag names one pool, every other names two")
        if self.gate_port is None and self.state in _GATED:
            raise Invalid(f"{self.name!r}: this state needs the port of the gate")
        if self.gate_port is not None and self.target_alias is None:
            raise Invalid(f"{self.name!r}: a static flag has no gate")

    @property
    def serving_alias(self) -> str:
        """The pool that answers what needs not wait."""
        is_moved = self.state in {FlagState.HOLDD, FlagState.DST}
        return self.target_alias if is_moved and self.target_alias else self.pool_alias

    @property
    def name(self) -> str:
        """The name on disk, ``e4.src.a.b``."""
        text = f"e{self.epoch}.{self.state}.{self.pool_alias}"
        if self.target_alias is not None:
            text += f".{self.target_alias}"
        return text if self.gate_port is None else f"{text}.g{self.gate_port}"

    @classmethod
    def parse(cls, name: str) -> "Flag":
        """The inverse of `name`; raises `Invalid`."""
        match = _FLAG.fullmatch(name)
        if match is None:
            raise Invalid(f"{name!r} is not a routing flag")
        port = match["port"]
        return cls(
            epoch=int(match["epoch"]),
            state=FlagState(match["state"]),
            pool_alias=match["pool"],
            target_alias=match["target"],
            gate_port=int(port) if port else None,
        )


def counter_key(vhost: str, bucket: str, flag: Flag | None) -> str:
    """Under which key nginx counts a mutation that saw ``flag``; None: the bucket had no flag."""
    return f"{vhost}/{bucket}:{flag.name if flag else DEFAULT_KEY}"
