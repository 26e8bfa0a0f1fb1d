"""What `server` says about replies, for the data plane.

Knows which keys those are. Knows nothing of sockets.
"""

from __future__ import annotations

from .answer import Settings
from .config.model import Server


def make_settings(server: Server) -> Settings:
    """The settings of *server*, made once."""
    return Settings(server.limits.udp_size, server.nsid, server.client_subnet)
