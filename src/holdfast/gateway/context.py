"""The gateway's parts, built once at start and found by ``services.get(Gateway)``."""

from dataclasses import dataclass, field

from holdfast.gateway.flags import RouteFlags
from holdfast.gateway.ports import Ports
from holdfast.kernel.config import Settings
from holdfast.kernel.nginx import Generations, Nginx
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services


@dataclass(slots=True)
class Gateway:
    """What the gateway's services stand on."""

    settings: Settings
    sealer: Sealer
    generations: Generations
    nginx: Nginx
    flags: RouteFlags
    ports: Ports = field(default_factory=Ports)


def build_gateway(services: Services) -> Gateway:
    """The gateway's parts for these settings, registered with the services."""
    settings = services.settings
    root = settings.nginx_root
    return services.add(
        Gateway(
            settings=settings,
            sealer=services.sealer,
            generations=Generations(root, keep=settings.generations_kept),
            nginx=Nginx(list(settings.nginx_command), root),
            flags=RouteFlags(root),
        )
    )
