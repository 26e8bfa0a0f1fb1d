"""What is served, as `geodns diff NEW` compares with it: told by the daemon, opened by the command beside it.

Knows that orders stand in the image of the maps, and which of a configuration's services and drains they are read by. Knows
nothing of sockets. Nothing secret of the configuration is told: no check, no record.
"""

from __future__ import annotations

from pathlib import Path

from .compiler.diff import Side
from .compiler.images import image_path
from .compiler.naming import name_parts
from .compiler.shares import drained_pools
from .config.model import Config
from .errors import ImageError
from .image_maps import read_countries, read_maps
from .report import Served, ServedService
from .snapshot import Maps

STAND_IN = "192.0.2.1"  # RFC 5737: which members a pool has is no matter here


def tell_served(path: Path, config: Config, maps: Maps, images: Path | None) -> Served:
    """The running *config* of *path* with its *maps*, which *images* keeps; a moment's work for thousands of services."""
    naming = name_parts(config)
    services = []
    for name, service in config.services.items():
        drained = drained_pools(config, naming, service)
        drained_names = tuple(naming.datacenters[number] for number in sorted(drained))
        services.append(ServedService(name, service.map, tuple(service.pools), drained_names))
    image = None if images is None else str(image_path(images, maps.digest))
    return Served(str(path), image, maps.digest.hex(), naming.datacenters, tuple(services))


def open_served(served: Served) -> Side:
    """The side of a comparison that *served* tells of. Raises ImageError where the image cannot be read here."""
    if served.image is None:
        raise ImageError("the daemon has no folder for images, so that nothing can be compared with; set server.state")
    try:
        octets = Path(served.image).read_bytes()
    except OSError as error:
        raise ImageError(f"{served.image}: {error.strerror}; the maps that the daemon serves are needed here") from error
    maps = read_maps(octets, served.image)
    if maps.digest.hex() != served.digest:
        raise ImageError(f"{served.image}: made from other sources than what the daemon serves")
    config = _stand_in(served)
    return Side(config, name_parts(config), maps, read_countries(octets, served.image))


def _stand_in(served: Served) -> Config:
    """A configuration with the same naming and drains; one member stands for all of a pool."""
    services = {
        service.name: {
            "map": service.map,
            "pools": {name: [{"address": STAND_IN, "drain": name in service.drained}] for name in service.pools},
        }
        for service in served.services
    }
    datacenters = {name: {"coordinates": [0.0, 0.0]} for name in served.datacenters}
    return Config.model_validate({"datacenters": datacenters, "services": services})
