"""The gateway over HTTP: requests in, one service call each, answers out."""

from fastapi import APIRouter

from holdfast.gateway.api import batch, buckets, config, pool_buckets, pools, routes, vhosts

routers: list[APIRouter] = [
    pools.router,
    pool_buckets.router,
    vhosts.router,
    routes.router,
    buckets.router,
    batch.router,
    config.router,
]
