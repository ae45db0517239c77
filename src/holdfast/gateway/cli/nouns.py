"""Pools, members, credentials, vhosts, routes and buckets, as calls of the API."""

from collections.abc import Sequence

import typer

from holdfast.commands.verbs import DRY_RUN, RELOAD, Field, Verb, noun

WRITE = (RELOAD, DRY_RUN)
POOL_COLUMNS = ("id", "name", "type", "lb_method", "keepalive", "description")
MEMBER_COLUMNS = (
    "id",
    "address",
    "role",
    "weight",
    "max_fails",
    "fail_timeout_s",
    "enabled",
    "description",
)
VHOST_COLUMNS = (
    "id",
    "server_name",
    "listen_port",
    "ssl",
    "enabled",
    "default_pool_id",
    "description",
)
ROUTE_COLUMNS = (
    "id",
    "path_prefix",
    "pool_name",
    "key_prefix",
    "enabled",
    "migration_id",
    "description",
)

POOL_FIELDS = (
    Field(name="description", help="What it is for."),
    Field(name="type", help="nanio (any S3 server) or http."),
    Field(name="lb_method", help="round_robin, least_conn or ip_hash."),
    Field(name="keepalive", kind="number", help="Idle connections kept to the pool, 0 to 1024."),
    Field(
        name="source_nanio_pool_id",
        option="source-pool",
        ref="pool",
        help="For type http: the S3 pool whose buckets it shows.",
    ),
    *WRITE,
)
MEMBER_FIELDS = (
    Field(name="role", help="active; in http pools primary or replica."),
    Field(name="weight", kind="number", help="Share of the requests, 1 to 100."),
    Field(name="max_fails", kind="number", help="Failures until it is left out, 0: never."),
    Field(name="fail_timeout_s", kind="number", help="How long it is left out, in seconds."),
    Field(name="enabled", kind="flag", help="Whether it gets requests."),
    Field(name="description", help="Whatever helps the next person."),
    *WRITE,
)
VHOST_FIELDS = (
    Field(name="listen_port", option="port", kind="number", help="Port that nginx listens on."),
    Field(name="ssl", kind="flag", help="Whether it speaks TLS."),
    Field(name="ssl_cert_path", option="ssl-cert", help="Path of the certificate."),
    Field(name="ssl_key_path", option="ssl-key", help="Path of the certificate's key."),
    Field(name="extra_directives", help="Lines for the server block; @file reads them."),
    Field(
        name="extra_blocks",
        kind="json",
        help='[{"zone": "top|ssl|proxy|end", "content": "..."}], or @file.',
    ),
    Field(name="enabled", kind="flag", help="Whether nginx serves it."),
    Field(
        name="default_pool_id", option="default-pool", ref="pool", help="Pool of what has no route."
    ),
    Field(name="ip_rule_mode", help="allow or deny the addresses of --ip."),
    Field(name="ip_rule_ips", option="ip", kind="texts", help="Address or network; repeatable."),
    Field(name="description", help="Whatever helps the next person."),
    *WRITE,
)
ROUTE_FIELDS = (
    Field(name="key_prefix", help="What is put before the key on the pool."),
    Field(name="extra_directives", help="Lines for its location; @file reads them."),
    Field(name="enabled", kind="flag", help="Whether nginx serves it."),
    Field(name="description", help="Whatever helps the next person."),
    *WRITE,
)
NODE_FIELDS = (
    Field(name="node_type", required=True, help="nanio-only, nginx-only or nginx-nanio."),
    Field(name="data_dir", help="Where the objects lie on the node."),
    Field(name="nanio_port", kind="number", help="Port of the S3 server."),
    Field(name="nanio_host", help="Address of the S3 server."),
    Field(name="nanio_region", help="Its region."),
    Field(
        name="access_key",
        help="A user of the S3 server; its secret key is asked, or read from stdin.",
    ),
    Field(name="secret_key", kind="secret", beside="access_key", help="Secret key of that user."),
)


def _delete(path: str, summary: str, *, name: str = "delete") -> Verb:
    return Verb(
        name=name, method="DELETE", path=path, confirm=True, fields=WRITE, done="done", help=summary
    )


POOLS = (
    Verb(name="list", path="/api/pools", columns=POOL_COLUMNS, help="List pools."),
    Verb(name="show", path="/api/pools/{pool}", help="Show a pool."),
    Verb(
        name="create",
        method="POST",
        path="/api/pools",
        fields=(Field(name="name", argument=True, help="Its name."), *POOL_FIELDS),
        help="Create a pool.",
    ),
    Verb(
        name="update",
        method="PUT",
        path="/api/pools/{pool}",
        fields=(Field(name="name", help="Its new name."), *POOL_FIELDS),
        help="Change a pool.",
    ),
    _delete("/api/pools/{pool}", "Delete a pool."),
    Verb(
        name="buckets",
        path="/api/pools/{pool}/buckets/status",
        rows="buckets",
        columns=("bucket", "status", "routed_in", "default_vhosts"),
        help="List the buckets of a pool, and who routes to them.",
    ),
    Verb(
        name="preview",
        path="/api/config/preview/pool/{pool}",
        text="content",
        help="Print the file that nginx reads for a pool.",
    ),
)
MEMBERS = (
    Verb(
        name="list",
        path="/api/pools/{pool}/members",
        columns=MEMBER_COLUMNS,
        help="List the members of a pool.",
    ),
    Verb(name="show", path="/api/pools/{pool}/members/{member}", pick=True, help="Show a member."),
    Verb(
        name="create",
        method="POST",
        path="/api/pools/{pool}/members",
        fields=(
            Field(name="address", argument=True, help="host:port, or unix:/path."),
            *MEMBER_FIELDS,
        ),
        help="Add a member to a pool.",
    ),
    Verb(
        name="update",
        method="PUT",
        path="/api/pools/{pool}/members/{member}",
        fields=(Field(name="address", help="Its new address."), *MEMBER_FIELDS),
        help="Change a member.",
    ),
    _delete("/api/pools/{pool}/members/{member}", "Remove a member from its pool."),
    Verb(
        name="node-config",
        method="POST",
        path="/api/pools/{pool}/members/{member}/node-config",
        fields=NODE_FIELDS,
        help="Write the files that set up a member's machine.",
    ),
    Verb(
        name="node-configs",
        path="/api/pools/{pool}/node-config-summary",
        columns=("member", "recent_configs"),
        paged=False,
        help="List the newest set-ups that were made for each member of a pool.",
    ),
)
CREDENTIALS = (
    Verb(name="show", path="/api/pools/{pool}/credentials", help="Show a pool's keys, masked."),
    Verb(
        name="set",
        method="PUT",
        path="/api/pools/{pool}/credentials",
        fields=(
            Field(name="access_key", required=True, help="Access key; the secret key is asked."),
            Field(name="secret_key", kind="secret", help="Secret key, from the prompt or stdin."),
            Field(name="endpoint_url", help="Where the keys are valid, if not at the members."),
            Field(name="region", help="Region that requests are signed for."),
        ),
        help="Store the S3 keys of a pool, sealed; the secret key is read from stdin.",
    ),
    Verb(
        name="delete",
        method="DELETE",
        path="/api/pools/{pool}/credentials",
        confirm=True,
        help="Forget the keys of a pool; the global ones are used again.",
    ),
)
VHOSTS = (
    Verb(name="list", path="/api/vhosts", columns=VHOST_COLUMNS, help="List vhosts."),
    Verb(name="show", path="/api/vhosts/{vhost}", help="Show a vhost."),
    Verb(
        name="create",
        method="POST",
        path="/api/vhosts",
        fields=(
            Field(name="server_name", argument=True, help="Its host name."),
            *VHOST_FIELDS,
        ),
        help="Create a vhost.",
    ),
    Verb(
        name="update",
        method="PUT",
        path="/api/vhosts/{vhost}",
        fields=(Field(name="server_name", help="Its new host name."), *VHOST_FIELDS),
        help="Change a vhost.",
    ),
    _delete("/api/vhosts/{vhost}", "Delete a vhost and its routes."),
    Verb(
        name="preview",
        path="/api/vhosts/{vhost}/preview",
        text="content",
        help="Print the file that nginx reads for a vhost.",
    ),
)
ROUTES = (
    Verb(
        name="list",
        path="/api/vhosts/{vhost}/routes",
        columns=ROUTE_COLUMNS,
        help="List the routes of a vhost.",
    ),
    Verb(name="show", path="/api/vhosts/{vhost}/routes/{route}", pick=True, help="Show a route."),
    Verb(
        name="create",
        method="POST",
        path="/api/vhosts/{vhost}/routes",
        fields=(
            Field(name="path_prefix", argument=True, help="Like /photos/."),
            Field(name="pool_id", option="pool", ref="pool", required=True, help="Where it goes."),
            *ROUTE_FIELDS,
        ),
        help="Send a path prefix to a pool.",
    ),
    Verb(
        name="update",
        method="PUT",
        path="/api/vhosts/{vhost}/routes/{route}",
        fields=(
            Field(name="path_prefix", option="prefix", help="Its new prefix."),
            Field(
                name="pool_id",
                option="pool",
                ref="pool",
                help="Where it goes; a bucket that has objects is moved there live.",
            ),
            Field(
                name="allow_orphan",
                kind="flag",
                help="With --pool: switch at once, and leave a bucket's objects behind on purpose.",
            ),
            *ROUTE_FIELDS,
        ),
        help="Change a route.",
    ),
    _delete("/api/vhosts/{vhost}/routes/{route}", "Delete a route."),
)
_OF_VHOST = "/api/vhosts/{vhost}/buckets"
_HTTP_ROUTES = "/api/vhosts/{vhost}/http-bucket-routes"
BUCKETS = (
    Verb(
        name="list",
        path=_OF_VHOST,
        rows="buckets",
        columns=("name", "status", "pool_name", "object_count", "discovered_at"),
        fields=(
            Field(name="fetch_counts", option="counts", kind="flag", query=True, help="Count."),
        ),
        help="List the buckets that a vhost knows.",
    ),
    Verb(name="sync", method="POST", path=f"{_OF_VHOST}/sync", help="Look for buckets now."),
    Verb(
        name="sync-all",
        method="POST",
        path="/api/buckets/sync",
        fields=(DRY_RUN,),
        help="Look for the buckets of every vhost now.",
    ),
    Verb(
        name="promote",
        method="POST",
        path=f"{_OF_VHOST}/{{bucket}}/promote",
        follow="migration",
        fields=(
            Field(name="pool_id", option="pool", ref="pool", required=True, help="Where it goes."),
            Field(name="migrate", kind="flag", help="Move its objects there live."),
            Field(name="allow_orphan", kind="flag", help="Leave objects behind on purpose."),
        ),
        help="Give a bucket a route of its own.",
    ),
    Verb(
        name="ignore",
        method="POST",
        path=f"{_OF_VHOST}/{{bucket}}/ignore",
        help="Take a bucket out of the list of those without a route.",
    ),
    Verb(
        name="migrate",
        method="POST",
        path=f"{_OF_VHOST}/{{bucket}}/migrate",
        follow="migration",
        help="Move a promoted bucket's objects to the pool that its route names.",
    ),
    Verb(
        name="unroute",
        method="DELETE",
        path=f"{_OF_VHOST}/{{bucket}}/route",
        confirm=True,
        help="Remove a bucket's own route.",
    ),
    Verb(
        name="orphans",
        path=f"{_OF_VHOST}/orphans",
        rows="orphans",
        columns=("bucket", "objects"),
        help="List copies on the default pool that nobody reads any more.",
    ),
    Verb(
        name="purge-orphan",
        method="POST",
        path=f"{_OF_VHOST}/{{bucket}}/purge-orphan",
        fields=(
            Field(name="confirm", required=True, help="The bucket's name, typed once more."),
            DRY_RUN,
        ),
        help="Delete a copy that nobody reads any more.",
    ),
    Verb(
        name="objects",
        path="/api/pools/{pool}/buckets/{bucket}/objects",
        rows="objects",
        help="List the keys of a bucket on a pool.",
    ),
    Verb(
        name="purge",
        method="POST",
        path="/api/pools/{pool}/buckets/{bucket}/purge",
        fields=(
            Field(name="confirm", required=True, help="The bucket's name, typed once more."),
            DRY_RUN,
        ),
        help="Delete every object of a bucket that nobody reads any more.",
    ),
    Verb(
        name="http-list",
        path=_HTTP_ROUTES,
        rows="routes",
        columns=("id", "path_prefix", "pool_name", "bucket"),
        help="List the buckets that an http vhost shows.",
    ),
    Verb(
        name="http-create",
        method="POST",
        path=f"{_HTTP_ROUTES}/{{bucket}}",
        fields=WRITE,
        help="Show a bucket through an http vhost.",
    ),
    _delete(
        f"{_HTTP_ROUTES}/{{bucket}}",
        "Show a bucket no longer through an http vhost.",
        name="http-delete",
    ),
)


def nouns() -> Sequence[typer.Typer]:
    """The gateway's nouns."""
    return (
        noun("pool", "Servers that nginx balances over.", POOLS),
        noun("member", "The servers of a pool.", MEMBERS),
        noun("credential", "The S3 keys of a pool.", CREDENTIALS),
        noun("vhost", "nginx server blocks.", VHOSTS),
        noun("route", "Which path of a vhost goes to which pool.", ROUTES),
        noun("bucket", "Buckets as vhosts and pools see them.", BUCKETS),
    )
