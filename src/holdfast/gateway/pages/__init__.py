"""The gateway's pages of the console: one module and its templates for each noun.

What all of them share is in ``edge.py``: the transaction of the gateway's only writer, a form that
can be tried before it is saved, and the choice of a pool.
"""

from holdfast.gateway.pages import (
    bucket,
    bucket_parts,
    buckets,
    config,
    config_history,
    config_import,
    config_parts,
    config_tasks,
    http_buckets,
    members,
    node_setup,
    pool_buckets,
    pool_keys,
    pool_parts,
    pools,
    routes,
    traffic_parts,
    vhost_forms,
    vhost_parts,
    vhosts,
)
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import console_parts
from holdfast.kernel.web.router import Router

routers: list[Router] = [
    vhost_forms.router,
    vhosts.router,
    routes.router,
    pools.router,
    members.router,
    pool_keys.router,
    node_setup.router,
    buckets.router,
    bucket.router,
    pool_buckets.router,
    http_buckets.router,
    config.router,
    config_history.router,
    config_tasks.router,
    config_import.router,
]


def contribute(services: Services) -> None:
    """Templates, navigation, search, and what the overview tells of the gateway."""
    parts = console_parts(services)
    parts.templates["gateway"] = "holdfast.gateway.pages"
    parts.topics.append("gateway")
    vhost_parts.contribute(services)
    pool_parts.contribute(services)
    bucket_parts.contribute(services)
    config_parts.contribute(services)
    traffic_parts.contribute(services)
