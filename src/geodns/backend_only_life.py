"""The life of ``serve --backend-only``: what of `server` counts, the one lock, and the end when nobody is connected.

Knows how such a daemon differs from an ordinary one. Knows nothing of how either is put together (`daemon`), or of who
starts it (`backend_only`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .backend_only import Spot, claim_lock, find_spot
from .config.model import Server
from .config.model_server import Backend
from .errors import StartError
from .state_lock import lock_state

MODE = 0o600  # of its socket: it is for the shims of one user
GRACE = 30.0  # seconds that it lives on without a client: PowerDNS may just be restarting
LOOK = 1.0  # seconds between two looks at who is connected

_log = logging.getLogger(__name__)


def claim_spot(config: Path, environ: Mapping[str, str]) -> tuple[Spot, int]:
    """Where the daemon for *config* is, and the descriptor of its lock, to be held to the end. Raises StartError."""
    try:
        spot = find_spot(str(config), environ)
        lock = claim_lock(spot, environ)
    except OSError as error:
        raise StartError(f"serve --backend-only: {error}") from error
    if lock is None:
        raise StartError(f"serve --backend-only: a daemon for {config} runs already, or begins: it has {spot.lock}")
    return spot, lock


def narrow(server: Server, socket: str) -> Server:
    """What counts of *server*: no listeners, HTTP only where it is written, *socket* for the shims of this user alone.

    Only root can become another user: whoever else starts it stays what it is, since PowerDNS's user did so by a shim.
    """
    return server.model_copy(
        update={
            "listen": (),
            "http": server.http if "http" in server.model_fields_set else None,
            "backend": Backend(path=Path(socket), mode=MODE),
            "user": server.user if os.geteuid() == 0 else None,
        }
    )


def is_backend_only(server: Server) -> bool:
    """Is *server* one that `narrow` made? No configuration can be without `listen`."""
    return not server.listen


def lock_if_free(state: Path | None) -> tuple[Path | None, int | None]:
    """The state directory and its lock, or neither where somebody else has it, loudly: answering goes before book-keeping.

    That is the ordinary daemon for the same configuration, or one for shims of another user.
    """
    if state is None:
        return None, None
    try:
        return state, lock_state(state)
    except StartError as error:
        _log.warning("%s; nothing is saved or restored here", error)
        return None, None


async def outlive_clients(clients: Callable[[], int], grace: float = GRACE) -> None:
    """Return when there have been no *clients* for *grace* seconds, which also count from the start."""
    left = time.monotonic()
    while True:
        await asyncio.sleep(min(LOOK, grace))
        now = time.monotonic()
        if clients():
            left = now
        elif now - left >= grace:
            _log.info("no shim has been connected for %g s: ending", grace)
            return
