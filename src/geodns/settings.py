"""What `server` says about replies, for the data plane.

Knows which keys those are. Knows nothing of how sockets are read.
"""

from __future__ import annotations

import os

from .answer import Settings
from .config.model import Server


def make_settings(server: Server) -> Settings:
    """The settings of *server*, made once."""
    return Settings(server.limits.udp_size, server.nsid, server.client_subnet)


def count_workers(server: Server) -> int:
    """Threads for UDP at each listen address, each with a socket: as many as written down, else one per usable core."""
    return server.workers or len(os.sched_getaffinity(0))
