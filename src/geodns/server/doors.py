"""Binding of the doors for operators: HTTP, and the control socket.

Knows whose the control socket must be, and which failure is worth a start. Knows nothing of what is said over them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..errors import StartError
from .listen import bind_unix, open_listener, replace_stale

WAITING = 32  # connections that may wait to be accepted on the control socket


@dataclass(frozen=True, slots=True)
class Doors:
    """What is bound: listening sockets that do not block, or None; and what could not be had, a line each."""

    http: socket.socket | None = None
    control: socket.socket | None = None
    warnings: tuple[str, ...] = ()

    def close(self) -> None:
        for one in (self.http, self.control):
            if one is not None:
                one.close()


def bind_doors(http: tuple[str, int] | None, control: Path | None, user: str | None, written: Collection[str]) -> Doors:
    """Bind *http* (address, port) and *control*, which will be *user*'s; None is not wanted.

    *written* holds the keys of `server` that the configuration names: what is only a default and cannot be had is a
    warning. Raises StartError for the others, with nothing left bound.
    """
    warnings: list[str] = []
    bound_http = bound_control = None
    if http is not None:
        try:
            bound_http = bind_http(*http)
        except StartError as error:
            if "http" in written:
                raise
            warnings.append(f"{error}; there are no metrics and no API over HTTP")
    if control is not None:
        try:
            bound_control = bind_control(control, user, make=bool({"control", "state"} & set(written)))
        except BaseException as error:
            if isinstance(error, StartError) and "control" not in written:
                warnings.append(f"{error}; `geodns status` and the like cannot reach this daemon by a socket")
            else:
                Doors(bound_http).close()
                raise
    return Doors(bound_http, bound_control, tuple(warnings))


def bind_http(address: str, port: int) -> socket.socket:
    """A TCP socket for HTTP; port 0 takes any free one. Raises StartError."""
    return open_listener("server.http", address, port, socket.SOCK_STREAM)


def bind_control(path: Path, user: str | None = None, *, make: bool = False) -> socket.socket:
    """A Unix socket at *path* that only its owner and root can connect to: *user*, if we are root and may give it away.

    What a dead daemon left is replaced; *make* makes the last folder of *path* too. Raises StartError.
    """
    return bind_unix("server.control", path, lambda: _prepare(path, user, make), lambda: _give(path, user), WAITING)


def remove_socket(path: Path) -> None:
    """Take the socket file away at the end of a daemon that nobody succeeds. Never raises: a stale one does no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def _prepare(path: Path, user: str | None, make: bool) -> None:
    """Have a folder, and nothing at *path*. Raises StartError where something is there that we must not replace, OSError."""
    if make and not path.parent.is_dir():
        path.parent.mkdir()
        path.parent.chmod(0o755)
        _give(path.parent, user)
    replace_stale("server.control", path, f"geodns status --at {path}")


def _give(path: Path, user: str | None) -> None:
    """Make *user* the owner of *path*, if we are root. A user that does not exist is `drop_privileges`' to complain of."""
    if user is None or os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)
