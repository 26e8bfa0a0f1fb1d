"""Names to addresses, connections, and what they received.

Knows sockets and the resolver of the system. Knows nothing of what is said over a connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

from .finding import Trail, Unresolved

RESOLVERS = 16  # threads; each may hang as long as the system's resolver does, which is not for us to say
# struct tcp_info of linux/tcp.h: tcpi_state is the first octet, tcpi_bytes_received a word of 64 bits at octet 128.
TCP_INFO_SIZE = 136
BYTES_RECEIVED = struct.Struct("=128xQ")
ESTABLISHED_OR_LATER = frozenset({1, 4, 5, 6, 8, 9, 11})  # of tcp_states.h all but SYN_SENT, SYN_RECV, CLOSE and LISTEN


@lru_cache(maxsize=65536)
def family_of(address: str) -> socket.AddressFamily | None:
    """The family of an address; None for a name."""
    try:
        return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    except ValueError:
        return None


class Names:
    """Asks the system's resolver, which blocks, in threads of its own: probes of addresses never wait for them."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def find(self, host: str, trail: Trail) -> str:
        """The address of *host*: itself where it is one, else the first that the resolver puts forward.

        The resolver sorts by what this machine can reach (RFC 6724). Raises Unresolved.
        """
        if family_of(host) is not None:
            return host
        if self._threads is None:
            self._threads = ThreadPoolExecutor(RESOLVERS, "resolve")
        trail.waiting_for = f"address of {host}"
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, _resolve, host)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a name"
            raise Unresolved(f"{host} cannot be resolved: {reason}") from error
        trail.waiting_for = "connection"
        return found

    def close(self) -> None:
        """Who still waits for a resolver is forgotten; its thread ends with its reply."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _resolve(host: str) -> str:
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def open_socket(address: str, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    """A socket for *address* that never blocks. Raises OSError."""
    opened = socket.socket(family_of(address) or socket.AF_INET, kind, protocol)
    opened.setblocking(False)
    return opened


async def connect(address: str, port: int, trail: Trail) -> socket.socket:
    """A TCP connection. Raises OSError; the caller closes it."""
    opened = open_socket(address, socket.SOCK_STREAM)
    try:
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    trail.waiting_for = "reply"
    return opened


async def receive(opened: socket.socket, most: int, trail: Trail) -> bytes:
    """At most *most* octets, at least one; none where the other side has ended. Raises OSError."""
    octets = await asyncio.get_running_loop().sock_recv(opened, most)
    trail.hear()
    return octets


def follow(opened: socket.socket, trail: Trail) -> None:
    """Ask the kernel how far the connection of a probe got that somebody else drives."""
    with suppress(OSError):  # it may be closed already
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        if info[0] in ESTABLISHED_OR_LATER and trail.waiting_for == "connection":
            trail.waiting_for = "reply"
        if len(info) >= TCP_INFO_SIZE and BYTES_RECEIVED.unpack(info)[0]:
            trail.hear()
