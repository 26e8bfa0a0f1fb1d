"""Telling the service manager how we are: the protocol of sd_notify(3), which is one datagram.

Knows NOTIFY_SOCKET. Knows nothing of when to say what. Without a service manager nothing is said.
"""

from __future__ import annotations

import os
import socket
import time

PATIENCE = 0.2  # seconds that a service manager which does not read may cost us


def notify(*lines: str) -> None:
    """Send *lines* ("READY=1", "STATUS=...") to the service manager, if there is one. Never raises: it is not vital."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = "\0" + where[1:] if where.startswith("@") else where  # "@": an abstract socket, sd_notify(3)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(PATIENCE)
            sender.sendto("\n".join(lines).encode(), address)
    except OSError:
        return


def notify_reloading() -> None:
    """A reload begins. sd_notify(3): RELOADING=1 goes with MONOTONIC_USEC, and READY=1 ends it, also when it failed."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
