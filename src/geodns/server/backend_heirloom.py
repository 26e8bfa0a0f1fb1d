"""Connections of PowerDNS that pass from one daemon to its successor, so that nobody's next question finds a closed one.

Knows how a connection travels: over the backend socket itself, where the successor already accepts, as a descriptor beside a
few octets that no line of either protocol begins with. Knows nothing of what is asked over it. Only a process of our own
user, or root's, is believed; descriptors from anybody else are closed.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array

MARK = b"\0GEODNS-CONNECTION "
MOST = 4  # descriptors that are looked at in one message; what is more the kernel closes
_INT = array("i").itemsize
_SPACE = socket.CMSG_SPACE(MOST * _INT)
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


def send_connection(path: str, connection: socket.socket, about: str) -> bool:
    """Give *connection* and what is known *about* it to whoever listens at *path*; False where that is not to be had now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as carrier:
        try:
            carrier.connect(path)
            # a whole message or none: it is far smaller than any buffer
            carrier.sendmsg([MARK + about.encode()], [_rights(connection.fileno())])
        except OSError:
            return False
    return True


def _rights(descriptor: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]).tobytes()


def receive(connection: socket.socket, size: int) -> tuple[bytes, list[socket.socket]]:
    """The first octets of *connection*, and sockets that came with them, which are the caller's. Raises OSError.

    Descriptors that are no connected Unix sockets, or come from a stranger, are closed.
    """
    octets, ancillary, _, _ = connection.recvmsg(size, _SPACE, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(value[: len(value) - len(value) % _INT])
    return octets, _open_all(descriptors, believed=not descriptors or _is_ours(connection))


def _is_ours(connection: socket.socket) -> bool:
    """Is the process at the other end our own user's, or root's?"""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in {0, os.geteuid()}


def _open_all(descriptors: array[int], *, believed: bool) -> list[socket.socket]:
    found = []
    for descriptor in descriptors:
        try:
            one = socket.socket(fileno=descriptor)
        except OSError:  # no socket at all
            os.close(descriptor)
            continue
        if believed and one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM:
            one.setblocking(False)
            found.append(one)
        else:
            one.close()
    return found
