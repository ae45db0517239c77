"""Who calls an adapter: a user by HTTP Basic, a token, or nobody from a listed network."""

import base64
import binascii
from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import Request

from holdfast.kernel.errors import Forbidden, Unauthenticated
from holdfast.kernel.identity import logins
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.service import caller_of_token
from holdfast.kernel.identity.uses import TokenUses
from holdfast.kernel.services import Services
from holdfast.kernel.web.doors import connection_address
from holdfast.kernel.web.security import check_origin, token_of, visit_of
from holdfast.kernel.work import Actor, Role

_OF_OTHERS = frozenset(
    {
        *("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"),
        *("origin", "sec-fetch-site"),
    }
)
"""What a proxy or a browser sends: either asks for somebody else."""
_OF_PROXIES = "x-forwarded-"
_OF_BROWSERS = "Mozilla/"
AREA = "dropin"
"""What the scope of a token must name if it has one."""


async def actor_of(request: Request, services: Services, tool: str) -> Actor:
    """Who calls; ``tool`` is who does without a login. Cookies are not looked at.

    Raises ``Unauthenticated``, ``TooMany``, and ``Forbidden`` for what a browser was made to send.
    """
    check_origin(request)
    token, given = token_of(request), _basic(request)
    if not token and given is None:
        return _guest(request, services, tool)
    name, password = given or ("", token)
    caller = await _by_token(services, password)
    if caller is None and given is not None and password:
        visit = visit_of(request)
        caller = await logins.caller_by_password(
            services, name=name, password=password, visit=visit
        )
    if caller is None:
        raise Unauthenticated("The name or the password is wrong.", hint="try again")
    if caller.scope and AREA not in caller.scope:
        raise Forbidden(
            f"the token {caller.actor.name} is only for: {', '.join(caller.scope)}",
            hint=f"make one with this area: holdfast token create --scope {AREA}",
        )
    return caller.actor


async def _by_token(services: Services, token: str) -> Caller | None:
    uses = services.find(TokenUses) or services.add(TokenUses(services.database))
    api_key = services.settings.api_key.get_secret_value()
    async with services.database.read() as session:
        return await caller_of_token(session, token, api_key=api_key, uses=uses)


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", ""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # as some clients send it
    name, _, password = text.partition(":")
    return name, password


def _guest(request: Request, services: Services, tool: str) -> Actor:
    """Nobody in particular, by the address of the connection.

    Not a proxy, which speaks for people elsewhere, nor a browser, which any page may make ask.
    """
    address = connection_address(request.scope)
    by_others = any(name in _OF_OTHERS or name.startswith(_OF_PROXIES) for name in request.headers)
    by_browser = request.headers.get("user-agent", "").startswith(_OF_BROWSERS)
    if by_others or by_browser or not _is_in(address, services.settings.dropin_allow):
        raise Unauthenticated("Log in with the name and password of a user of Holdfast.")
    return Actor(f"{tool}/{address}", Role.OPERATOR)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in ip_network(network) for network in networks)
