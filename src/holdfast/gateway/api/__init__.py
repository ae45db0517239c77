"""The gateway over HTTP: requests in, one service call each, answers out."""

from holdfast.gateway.api import batch, buckets, config, pool_buckets, pools, routes, vhosts
from holdfast.kernel.web.router import Router

routers: list[Router] = [
    pools.router,
    pool_buckets.router,
    vhosts.router,
    routes.router,
    buckets.router,
    buckets.everywhere,
    batch.router,
    config.router,
]
