"""The icmp probe: one echo request.

Knows ICMP and ICMPv6 echoes (RFC 792, RFC 4443 4) and the two kinds of sockets that may send them. Knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from typing import NamedTuple

from .connect import family_of, open_socket
from .finding import Finding, Trail, Unable, passed

ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
TOKEN_SIZE = 16  # random octets that the reply repeats: whoever does not see the request cannot forge it
REFUSED = "icmp is not allowed here: put a group of this process into sysctl net.ipv4.ping_group_range, or grant CAP_NET_RAW"


class Family(NamedTuple):
    """What differs between the two."""

    protocol: int
    request: int
    reply: int


FAMILIES = {
    socket.AF_INET: Family(socket.IPPROTO_ICMP, 8, 0),
    socket.AF_INET6: Family(socket.IPPROTO_ICMPV6, 128, 129),
}


async def probe(address: str, trail: Trail) -> Finding:
    """Send *address* an echo request and wait for its reply. Raises OSError, and Unable where we may not."""
    family = FAMILIES[family_of(address) or socket.AF_INET]
    loop = asyncio.get_running_loop()
    token = secrets.token_bytes(TOKEN_SIZE)
    with _open(address, family.protocol) as opened:
        opened.connect((address, 0))  # the kernel passes on what comes from there alone
        opened.send(write_echo(family.request, secrets.randbits(16), token))
        trail.waiting_for = "echo reply"
        while not is_reply(await loop.sock_recv(opened, 2048), family.reply, token):
            pass  # a raw socket hears all ICMP of the peer: replies to others, and on loopback our own request
    return passed("echo reply")


def _open(address: str, protocol: int) -> socket.socket:
    """An unprivileged socket where the sysctl allows it (for both families), else a raw one."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return open_socket(address, kind, protocol)
        except PermissionError:
            continue
    raise Unable(REFUSED)


def write_echo(kind: int, identifier: int, token: bytes) -> bytes:
    """An echo request. The kernel overwrites the identifier of unprivileged sockets, and the checksum of ICMPv6."""
    unsigned = ECHO.pack(kind, 0, 0, identifier, 1) + token
    return ECHO.pack(kind, 0, checksum(unsigned), identifier, 1) + token


def is_reply(octets: bytes, kind: int, token: bytes) -> bool:
    """Is this the reply to the echo with *token*? Raw IPv4 sockets leave the IP header before it (RFC 791 3.1)."""
    if octets[:1] and octets[0] >> 4 == 4 and kind == FAMILIES[socket.AF_INET].reply:
        octets = octets[(octets[0] & 15) * 4 :]
    return len(octets) == ECHO.size + TOKEN_SIZE and octets[0] == kind and octets[ECHO.size :] == token


def checksum(octets: bytes) -> int:
    """RFC 1071: the complement of the one's complement sum of all words of 16 bits; *octets* are even in number."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
