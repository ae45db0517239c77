"""Words, paths and templates of nginx text: nothing leaves its place in a file."""

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast.gateway.render_model import MemberSpec
from holdfast.kernel.errors import Invalid

_BARE = re.compile(r"[A-Za-z0-9._:/@*\[\]-]+", re.ASCII)
_BREAKING = re.compile(r"[\x00-\x1f\x7f\"'\\$;{}]")


def _s3_error(code: str, message: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )


S3_ANSWERS = {
    "no_bucket": _s3_error("NoSuchBucket", "The specified bucket does not exist"),
    "migrating": _s3_error("OperationAborted", "The bucket is being migrated"),
    "slowdown": _s3_error("SlowDown", "The bucket is being switched over, please retry"),
    "unreadable": _s3_error("ServiceUnavailable", "The gateway cannot read its routes"),
    "bad_source": _s3_error("InvalidArgument", "x-amz-copy-source must name a bucket and a key"),
    "far_source": _s3_error(
        "NotImplemented",
        "The source of this copy is on other servers than its target: read it and write it instead",
    ),
    "outside": _s3_error("InvalidURI", "The bucket in the path must be sent unescaped"),
}


def server_arguments(member: MemberSpec, as_backup: bool) -> str:  # noqa: FBT001 - a filter
    """What follows the address of a server in its upstream block."""
    usual = (member.weight, member.max_fails, member.fail_timeout_s) == (1, 3, 30)
    backup = member.role == "replica" and as_backup
    text = (
        f" weight={member.weight} max_fails={member.max_fails}"
        f" fail_timeout={member.fail_timeout_s}s"
    )
    return " backup" if backup and usual else text + (" backup" if backup else "")


def word(value: str) -> str:
    """One word of a configuration file; refuses what could end it."""
    if not value or _BREAKING.search(value):
        raise Invalid(f"{value!r} cannot stand in an nginx file")
    return value if _BARE.fullmatch(value) else f'"{value}"'


def quoted_path(value: str) -> str:
    """A path that holds our own variables."""
    if _BREAKING.search(re.sub(r"\$hf_[a-z]+", "", value)):
        raise Invalid(f"the path {value!r} cannot stand in an nginx file")
    return f'"{value}"'


@cache
def environment() -> Environment:
    """Templates of this slice; a value that was forgotten is an error."""
    made = Environment(
        loader=PackageLoader("holdfast.gateway"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - nginx text: every value passes the filter "word"
    )
    made.filters["word"] = word
    made.filters["regex"] = re.escape
    made.filters["server_arguments"] = server_arguments
    made.globals.update(S3_ANSWERS)
    return made
