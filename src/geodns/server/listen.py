"""Binding of listen addresses and of PowerDNS's socket, and the privileges that go once they are bound.

Knows sockets, their options, stale socket files, users and groups. Knows nothing of DNS, and reads no file but the user
database.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import resource
import socket
import stat
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ..errors import StartError

BACKLOG = 1024  # TCP connections that may wait to be accepted, also while the first snapshot is compiled
RECEIVE_BUFFER = 1 << 20  # octets; queries wait here during a burst, and while the first snapshot is compiled
LONGEST = 107  # octets of a unix socket's path: sun_path in unix(7) has 108, the last a zero
OWNER_ONLY = 0o177  # the umask under which unix sockets are made, so that at no moment a stranger may connect
WAITING = 128  # connections of PowerDNS that may wait to be accepted; each of its threads has one
IP_PKTINFO = 8  # linux/in.h; the socket module of Python 3.11 has no name for it
SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
FILTER, FILTERS = struct.Struct("=HBBI"), struct.Struct("HP")  # linux/filter.h: sock_filter, sock_fprog
LOAD_RANDOM, MODULO, RETURN = 0x20, 0x94, 0x16  # BPF_LD | BPF_W | BPF_ABS, BPF_ALU | BPF_MOD | BPF_K, BPF_RET | BPF_A
RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM: where a filter finds a random number
HINTS = {
    errno.EADDRINUSE: "the port is taken: is another geodns or name server running? (ss -lntup tells)",
    errno.EACCES: "ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine does not speak that family",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One listen address with its sockets; all are bound, not blocking, and the TCP one listens.

    `more` are further sockets for UDP, one for each thread behind the first. The kernel spreads queries over all of them, so
    all must be read.
    """

    address: str
    port: int
    udp: socket.socket
    tcp: socket.socket
    more: tuple[socket.socket, ...] = ()

    @property
    def group(self) -> tuple[socket.socket, ...]:
        """Every socket for UDP."""
        return self.udp, *self.more

    @property
    def wildcard(self) -> bool:
        """Does it stand for all addresses of the machine, so that replies must say which one was asked?"""
        return ip_address(self.address).is_unspecified

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def close(self) -> None:
        for one in (*self.group, self.tcp):
            one.close()


def bind_all(addresses: Sequence[tuple[str, int]], workers: int = 1) -> tuple[Bound, ...]:
    """Bind UDP and TCP of every (address, port), or none: whatever fails closes the others again.

    Each is bound without SO_REUSEPORT first, so a second daemon fails here instead of taking half of the queries. Port 0
    takes any free one. *workers*: sockets for UDP at each address. Raises StartError, one line: address, reason and hint.
    """
    bound: list[Bound] = []
    try:
        for address, port in addresses:
            bound.append(_bind(address, port, workers))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return tuple(bound)


def _bind(address: str, port: int, workers: int) -> Bound:
    tcp = open_listener("server.listen", address, port, socket.SOCK_STREAM)
    try:
        udp = open_listener("server.listen", address, tcp.getsockname()[1], socket.SOCK_DGRAM)
        try:
            more = _bind_more(udp, workers - 1)
        except OSError as error:
            udp.close()
            text = f"cannot open {workers} sockets for UDP: {error.strerror}"
            raise StartError(f"server.workers: {address}, port {tcp.getsockname()[1]}: {text}") from error
    except BaseException:
        tcp.close()
        raise
    return Bound(address, tcp.getsockname()[1], udp, tcp, more)


def _bind_more(first: socket.socket, count: int) -> tuple[socket.socket, ...]:
    """*count* further sockets for UDP where *first* is bound alone, all in one group. Raises OSError; then none is open.

    From now on another process of this user could join by SO_REUSEPORT; one of ours does not, it binds without first.
    """
    if count < 1:
        return ()
    more: list[socket.socket] = []
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    where = first.getsockname()
    try:
        for _ in range(count):
            more.append(opened := socket.socket(first.family, socket.SOCK_DGRAM))
            _set_options(opened, first.family, socket.SOCK_DGRAM, ip_address(where[0].partition("%")[0]).is_unspecified)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind(where)
        spread(first, count + 1)
    except BaseException:
        for one in more:
            one.close()
        raise
    return tuple(more)


def spread(member: socket.socket, count: int) -> None:
    """Let the kernel give each query to any of the *count* sockets in the group of *member*. Raises OSError.

    By itself it takes a hash of both addresses, so that one busy resolver has one thread. Nothing of ours is kept for a
    client, so chance spreads better: a random number modulo *count*.
    """
    lines = ((LOAD_RANDOM, 0, 0, RANDOM), (MODULO, 0, 0, count), (RETURN, 0, 0, 0))
    program = array("B", b"".join(FILTER.pack(*line) for line in lines))
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, FILTERS.pack(len(lines), program.buffer_info()[0]))


def open_listener(key: str, address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket that is bound, not blocking and, for TCP, listens. Raises StartError, which begins with *key*."""
    name = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    try:
        # numeric only: it fills in the scope of fe80::1%eth0, and asks no resolver (octets, or the idna codec is loaded)
        family, _, _, _, where = socket.getaddrinfo(address.encode(), port, type=kind, flags=socket.AI_NUMERICHOST)[0]
        opened = socket.socket(family, kind)
        try:
            _set_options(opened, family, kind, ip_address(address).is_unspecified)
            opened.bind(where)
            if kind is socket.SOCK_STREAM:
                opened.listen(BACKLOG)
        except BaseException:
            opened.close()
            raise
    except OSError as error:  # also socket.gaierror
        hint = f" ({HINTS[error.errno]})" if error.errno in HINTS else ""
        place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise StartError(f"{key}: {place}: cannot listen on {name}: {error.strerror}{hint}") from error
    return opened


def _set_options(opened: socket.socket, family: int, kind: socket.SocketKind, wildcard: bool) -> None:
    opened.setblocking(False)
    if family == socket.AF_INET6:
        # 0.0.0.0 and [::] are two sockets, so that no peer is ever an IPv4 address dressed as IPv6
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind is socket.SOCK_STREAM:
        # old connections in TIME_WAIT must not keep a restart out; UDP has none, and would share the port with a stranger
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # the kernel's own limit applies silently
    if wildcard and family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif wildcard:
        opened.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def bind_backend(path: Path, group: str | None, mode: int, user: str | None = None) -> socket.socket:
    """The unix socket at *path* that PowerDNS attaches to: not blocking, listening, *group*'s if one is named, with *mode*.

    If we are root it will be *user*'s, whom we are about to become, and who must be able to connect to a successor there.
    What a dead daemon left is replaced. Raises StartError: one line with the key and what to do.
    """
    number = None if group is None else _find_group(group)

    def open_up() -> None:
        _open_to(path, group, number, mode)
        give(path, user)

    hint = "is another geodns running, or the one that `geodns pipe` started?"
    return bind_unix("server.backend", path, lambda: replace_stale("server.backend", path, hint), open_up, WAITING)


def bind_unix(key: str, path: Path, prepare: Callable[[], None], open_up: Callable[[], None], waiting: int) -> socket.socket:
    """A Unix socket at *path* that listens and does not block; *waiting* connections may wait to be accepted.

    *prepare* sees to it that it can be bound there. It is its owner's alone until *open_up* has made it what it shall be.
    Raises StartError, which begins with *key*, also for an OSError of either.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise StartError(f"{key}: {path}: longer than the {LONGEST} octets that the path of a socket may have")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(OWNER_ONLY)
    try:
        prepare()
        bound.bind(str(path))
        open_up()
        bound.listen(waiting)
    except BaseException as error:
        bound.close()
        if isinstance(error, OSError):
            raise StartError(f"{key}: {path}: cannot listen: {error.strerror}") from error
        raise
    finally:
        os.umask(mask)
    return bound


def _find_group(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise StartError(
            f'server.backend.group: no group "{group}" on this machine (is PowerDNS installed? getent group)'
        ) from None


def _open_to(path: Path, group: str | None, number: int | None, mode: int) -> None:
    """Give the socket file its group and mode. Raises StartError, OSError; then the file is gone again."""
    try:
        if number is not None and path.stat().st_gid != number:
            os.chown(path, -1, number)
        path.chmod(mode)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno == errno.EPERM:
            text = f"server.backend.group: {path} cannot be given to {group}: start as root, or make our user a member of it"
            raise StartError(text) from error
        raise


def give(path: Path, user: str | None) -> None:
    """Make *user* the owner of *path*, if we are root; a group is left as it is. Raises OSError.

    A user that does not exist is `drop_privileges`' to complain of.
    """
    if user is None or os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        os.chown(path, pwd.getpwnam(user).pw_uid, -1)


def replace_stale(key: str, path: Path, hint: str) -> None:
    """See to it that nothing stands at *path*: a socket that nobody listens on is a dead daemon's, and removed.

    Raises StartError, which begins with *key* and ends with *hint* where somebody listens; OSError.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"{key}: {path}: is there, and is no socket: move it away, or name another path")
    if _answers(path):
        raise StartError(f"{key}: {path}: another daemon listens there ({hint})")
    path.unlink()


def _answers(path: Path) -> bool:
    """Does somebody listen at *path*? A full queue counts. Raises OSError where we may not even ask."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
    return True


def drop_privileges(user: str) -> None:
    """Become *user*, with that user's group and supplementary groups, for good.

    Already being that user is fine. Raises StartError where it cannot be done, or could be undone.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise StartError(f'server.user: no user "{user}" on this machine (useradd --system {user})') from None
    if os.geteuid() == entry.pw_uid and os.getuid() == entry.pw_uid:
        return
    if os.geteuid() != 0:
        raise StartError(f"server.user: only root can become {user}; start as root, as {user}, or leave `user` out")
    try:
        os.setgroups(os.getgrouplist(user, entry.pw_gid))
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except OSError as error:
        raise StartError(f"server.user: cannot become {user}: {error.strerror}") from error
    if entry.pw_uid != 0 and _can_return():
        raise StartError(f"server.user: became {user}, but could become root again: refusing to go on")
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)  # the cache folder of root is not ours any more


def _can_return() -> bool:
    """Would the kernel let this process be root again? (It must not.)"""
    try:
        os.setuid(0)
    except OSError:
        return False
    return True


def raise_file_limit() -> int:
    """Allow as many open files as the administrator lets us, since each TCP client is one; returns that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
