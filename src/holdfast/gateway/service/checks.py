"""Drafts that may be stored: every field that reaches nginx has passed its validator."""

import dataclasses
import re

from holdfast.gateway.model import (
    CredentialsDraft,
    MemberDraft,
    PoolDraft,
    RouteDraft,
    VhostDraft,
    as_directives,
)
from holdfast.kernel.errors import BadRequest, Invalid
from holdfast.kernel.nginx import validate

_BREAKING = frozenset("{}\\")
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?P<port>:[0-9]{1,5})?/?"
)


def check_pool(draft: PoolDraft) -> PoolDraft:
    """The pool. Raises ``Invalid``."""
    validate.pool_name(draft.name)
    if draft.source_nanio_pool_id is not None and draft.type != "http":
        raise Invalid(
            "source_nanio_pool_id is only for pools of type 'http'",
            hint="leave it out, or make the pool one of type http",
        )
    return draft


def check_member(draft: MemberDraft) -> MemberDraft:
    """The member in its normal form. Raises ``Invalid``."""
    return dataclasses.replace(draft, address=validate.server_address(draft.address))


def check_credentials(draft: CredentialsDraft) -> CredentialsDraft:
    """The credentials. Raises ``Invalid``; keys are never in the message."""
    validate.region(draft.region)
    if draft.endpoint_url:
        check_endpoint(draft.endpoint_url)
    check_key("access_key", draft.access_key)
    check_key("secret_key", draft.secret_key)
    return draft


def check_key(field: str, text: str) -> None:
    """Refuse what an S3 key cannot be. Raises ``Invalid`` without the key."""
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise Invalid(f"{field} has a character that S3 keys do not have")


def check_endpoint(url: str) -> None:
    """Refuse what is not ``http(s)://host[:port]``. Raises ``Invalid``."""
    found = _ENDPOINT.fullmatch(url)
    if found is None:
        raise Invalid(
            f"endpoint_url: {url!r} is not an S3 endpoint", hint="for example http://10.0.0.5:9000"
        )
    default = {"http": ":80", "https": ":443"}[found["scheme"]]
    address = found["host"] + (found["port"] or default)
    validate.server_address(address, "endpoint_url")


def check_vhost(draft: VhostDraft) -> VhostDraft:
    """The vhost in its normal form. Raises ``Invalid``."""
    for field in ("ssl_cert_path", "ssl_key_path"):
        path = getattr(draft, field)
        if path:
            validate.file_path(path, field)
    if draft.ip_rule_mode and not draft.ip_rule_ips:
        raise Invalid("ip_rule_ips is required when ip_rule_mode is set", hint="name addresses")
    for address in draft.ip_rule_ips or ():
        validate.ip_rule(address)
    validate.check_raw("extra_directives", draft.extra_directives or "", "server")
    for number, block in enumerate(draft.extra_blocks or ()):
        validate.check_raw(f"extra_blocks[{number}].content", block.content, "server")
    return dataclasses.replace(draft, server_name=validate.server_name(draft.server_name))


def check_tls(draft: VhostDraft, *, is_new: bool) -> None:
    """TLS needs a certificate and its key: ``Invalid`` when new, ``BadRequest`` in a change."""
    if draft.ssl and not (draft.ssl_cert_path and draft.ssl_key_path):
        message = "ssl_cert_path and ssl_key_path are required when ssl is true"
        hint = "name both files, or send ssl: false"
        raise Invalid(message, hint=hint) if is_new else BadRequest(message, hint=hint)


def check_route(draft: RouteDraft) -> RouteDraft:
    """The route in its normal form. Raises ``Invalid``."""
    validate.path_prefix(draft.path_prefix)
    key_prefix = (draft.key_prefix or "").strip("/")
    if key_prefix:
        validate.key_prefix(key_prefix)
    directives = as_directives(draft.extra_directives)
    if _BREAKING & set(directives):
        raise Invalid(
            "extra_directives must not contain { } or \\",
            hint="give plain directives; blocks belong to the vhost's extra_blocks",
        )
    validate.check_raw("extra_directives", directives, "location")
    return dataclasses.replace(
        draft, key_prefix=key_prefix or None, extra_directives=draft.extra_directives or None
    )
