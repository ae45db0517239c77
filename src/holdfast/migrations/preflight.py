"""Checks before a move: what would break a promise stops it, or is waived by name.

Only reads are sent to the servers (never a write of a sub-resource: a server that does not know it
would take it for the object), but for the bucket on the destination, which is made when it is not
there.
"""

import asyncio
from dataclasses import replace

from holdfast.kernel.errors import BadGateway, Invalid
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.signing import quote_path
from holdfast.kernel.stores.s3.xml import read_xml
from holdfast.migrations.compare import ComparisonTotals
from holdfast.migrations.dirtylog_room import RESERVED_BYTES
from holdfast.migrations.model import Mode, Options
from holdfast.migrations.move import Hopeless, Move, Parts

LOG_SPACE_BYTES = 4 * RESERVED_BYTES
TOKEN_PAGE_KEYS = 50
_SETTINGS = (
    ("object_lock", "object-lock", "ObjectLockConfiguration"),
    ("bucket_settings", "lifecycle", "LifecycleConfiguration"),
    ("tags", "tagging", "Tagging"),
)
"""The waiver's name, the sub-resource, and the root of the answer of a server that knows it."""


async def check_before_move(move: Move, parts: Parts, *, ours: bool) -> Options:
    """Raises `Hopeless` naming the waiver; gives the options, with the note that all was well.

    ``ours``: a flag of this migration is there already, so what is on the destination came from it.
    """
    check_sides(move)
    if not await parts.source.head_bucket(move.bucket):
        raise Hopeless(f"bucket {move.bucket!r} is not on pool {move.source.name!r}")
    await parts.destination.create_bucket(move.bucket)
    sides = ((move.source.name, parts.source), (move.destination.name, parts.destination))
    problems = await asyncio.gather(*(bucket_problems(client, move.bucket) for _, client in sides))
    for (name, _), found in zip(sides, problems, strict=True):
        for waiver, problem in found:
            refuse(move.options, waiver, f"pool {name!r}: {problem}")
    if parts.nginx.log.free_bytes() < LOG_SPACE_BYTES:
        refuse(move.options, "log_space", "the disk of nginx's dirty log is nearly full")
    if not (ours or move.options.admitted):
        await _check_destination(move, parts)
    return replace(move.options, admitted=True)


def check_sides(move: Move) -> None:
    """What the settings of the two pools tell. Raises `Hopeless`."""
    one, other = move.source, move.destination
    if one.endpoint == other.endpoint:
        raise Hopeless(f"both pools are the same server, {one.endpoint}")
    if (one.access_key, one.secret_key) != (other.access_key, other.secret_key):
        refuse(
            move.options,
            "keys",
            "the two pools have different S3 keys: the destination would refuse clients that sign "
            "with the source's",
        )
    if one.region != other.region:
        refuse(move.options, "region", f"the pools' regions differ: {one.region}, {other.region}")


async def bucket_problems(client: S3Client, bucket: str) -> list[tuple[str, str]]:
    """What a bucket has that a move does not carry over: the waiver's name, and words."""
    queries = [_has(client, bucket, query, root) for _, query, root in _SETTINGS]
    versioned, policy, granted, *settings = await asyncio.gather(
        client.versioning(bucket),
        _has_policy(client, bucket),
        _grants(client, bucket),
        *queries,
    )
    found = []
    if versioned:
        found.append(("versioning", "versioning is or was on: old versions are not moved"))
    if policy:
        found.append(("policy", "the bucket has a policy, which is not moved"))
    if granted:
        found.append(("acl", "the bucket's ACL lets others in: it is not moved"))
    for (waiver, query, _), is_set in zip(_SETTINGS, settings, strict=True):
        if is_set:
            found.append((waiver, f"the bucket has a {query} configuration, which is not moved"))
    return found


async def _has(client: S3Client, bucket: str, query: str, root: str) -> bool:
    """The root element decides: some servers ignore the sub-resource and answer with a listing."""
    body = await _sub_resource(client, bucket, query)
    try:
        return body is not None and read_xml(body).root == root
    except BadGateway:
        return False


async def _grants(client: S3Client, bucket: str) -> bool:
    """Whether the ACL says more than that its owner may do everything."""
    body = await _sub_resource(client, bucket, "acl")
    try:
        acl = read_xml(body or b"", record_depth=3)
    except BadGateway:
        return False
    grants = [grant for name, grant in acl.records if name == "Grant"]
    if acl.root != "AccessControlPolicy" or not grants:
        return False
    alone = len(grants) == 1 and grants[0].get("Permission") == "FULL_CONTROL"
    return not alone or "URI" in grants[0]


async def _has_policy(client: S3Client, bucket: str) -> bool:
    body = await _sub_resource(client, bucket, "policy")
    return body is not None and body.lstrip().startswith(b"{")


async def _sub_resource(client: S3Client, bucket: str, query: str) -> bytes | None:
    try:
        # max-keys: one that ignores the sub-resource lists one key, not a thousand
        return (await client.call("GET", quote_path(bucket), {query: "", "max-keys": "1"})).body
    except S3Error as error:
        if error.status >= 500 and error.status != 501:  # noqa: PLR2004 HTTP: not implemented
            raise
        return None


async def _check_destination(move: Move, parts: Parts) -> None:
    """Nothing on the destination may be lost by mistake."""
    page = await parts.destination.list_page(move.bucket, max_keys=1)
    if not page.objects or move.options.adopt:
        return
    found = await parts.copier.compare()
    problem = destination_problem(move.destination.name, move.mode, found)
    if problem:
        raise Hopeless(
            problem,
            hint="look at the plan (dry_run=true), then send confirm with the bucket's name",
        )


def destination_problem(pool: str, mode: Mode, found: ComparisonTotals) -> str:
    """Why what is on the destination stands in the way; empty when it does not."""
    there, extra = found.destination.objects, found.to_delete.objects
    match mode:
        case Mode.COPY:
            if not there:
                return ""
            return (
                f"the bucket is on {pool!r} already, with {there} objects: "
                f"{found.to_copy.objects} would be overwritten or added and {extra} deleted"
            )
        case Mode.SYNC:
            if not (found.changed.objects or extra):
                return ""
            return (
                f"the bucket is on {pool!r} already, with {there} objects: "
                f"{found.changed.objects} differ from the source's and would be overwritten, "
                f"{extra} are only there and would be deleted"
            )


async def check_tokens(parts: Parts) -> None:
    """A listing that a client began on the source must go on at the destination.

    Raises `Hopeless`.
    """
    move = parts.move
    size = TOKEN_PAGE_KEYS
    first = await parts.source.list_page(move.bucket, max_keys=size)
    if not first.next_token:
        size = 1
        first = await parts.source.list_page(move.bucket, max_keys=size)
    if not first.next_token:
        return
    try:
        following = await parts.destination.list_page(
            move.bucket, max_keys=size, token=first.next_token
        )
    except S3Error as error:
        if error.status >= 500:  # noqa: PLR2004 HTTP
            raise
        again = True
    else:
        seen = {listed.key for listed in first.objects}
        again = any(listed.key in seen for listed in following.objects)
    if again:
        refuse(
            move.options,
            "tokens",
            "the destination does not understand the source's page tokens: "
            "a listing begun before the switch would fail",
        )


def check_waivers(names: frozenset[str], known: tuple[str, ...]) -> None:
    """Raises ``Invalid`` for a name that is no check."""
    unknown = sorted(names - set(known))
    if unknown:
        raise Invalid(f"{unknown[0]!r} cannot be waived", hint=f"one of {', '.join(known)}")


def refuse(options: Options, waiver: str, problem: str) -> None:
    """Raises `Hopeless` unless it is waived."""
    if waiver not in options.waived:
        raise Hopeless(problem, hint=f"mend it, or waive it by name: {waiver}")
