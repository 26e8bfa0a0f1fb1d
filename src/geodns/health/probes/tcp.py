"""The tcp probe: a connection, and where it was asked for a few octets each way.

Knows what a check may send and expect. Knows nothing of the protocols spoken.
"""

from __future__ import annotations

import asyncio
import socket

from ...config.model_checks import LONGEST_REPLY, TcpCheck
from .connect import connect, receive
from .finding import Finding, Trail, failed, passed, quote


async def probe(address: str, port: int, check: TcpCheck, trail: Trail) -> Finding:
    """Connect to *address*; send and expect what *check* says. Raises OSError."""
    with await connect(address, port, trail) as opened:
        if check.send is not None:
            await asyncio.get_running_loop().sock_sendall(opened, check.send.encode())
        if check.expect is None:
            return passed("connected")
        return await _expect(opened, check.expect.encode(), trail)


async def _expect(opened: socket.socket, wanted: bytes, trail: Trail) -> Finding:
    """Read until the reply has begun with *wanted*, or with something else: nobody waits for more of a wrong reply."""
    reply = b""
    while len(reply) < len(wanted):
        octets = await receive(opened, LONGEST_REPLY - len(reply), trail)
        reply += octets
        if not octets or not wanted.startswith(reply[: len(wanted)]):
            break
    if reply.startswith(wanted):
        return passed(f"replied {quote(reply)}")
    if not reply:
        return failed(f"connection closed without a reply, expected {quote(wanted)}")
    return failed(f"replied {quote(reply)}, expected {quote(wanted)}")
