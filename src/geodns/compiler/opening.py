"""The `server` section that a start goes by: of the file, or where that cannot be read, of the last good configuration.

Knows where a state directory is while nobody can say so, and whom root may believe. Knows nothing of sockets.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config.load import DEFAULT_FILES, find_config, load_server
from ..config.model import Server
from ..errors import Complaint, ConfigError, Place, Severity
from .images import name_state
from .last_good import Kept, find, open_kept


@dataclass(frozen=True, slots=True)
class Opening:
    """What to start with."""

    path: Path
    server: Server
    broken: tuple[Complaint, ...]  # why the file could not be read; empty: it was


def open_server(given: Path | None, environ: Mapping[str, str], *, strict: bool) -> Opening:
    """The `server` section of *given* (None: the usual places).

    Where it cannot be read, that of the last good configuration of the same file, looked for in `$STATE_DIRECTORY`, else in
    /var/lib/geodns; never with *strict*. Raises ConfigError with all complaints when there is none that can be used either.
    """
    try:
        path = find_config(given, environ)
        return Opening(
            path,
            load_server(path),
            (),
        )
    except ConfigError as error:
        if strict:
            raise
        broken = error.complaints
    folder = find(name_state(Server(), environ))
    if folder is None:
        raise ConfigError(broken)
    try:
        kept = open_kept(folder)
        _check_path(kept, given, environ)
        server = load_server(kept.main, kept)
        _check_user(kept, server)
    except ConfigError as error:
        raise ConfigError((*broken, *error.complaints)) from error
    return Opening(kept.main, server, broken)


def _check_path(kept: Kept, given: Path | None, environ: Mapping[str, str]) -> None:
    """Is it of the file that was asked for, or, where none was, of one of the usual places?"""
    named = given or (Path(environ["GEODNS_CONFIG"]) if environ.get("GEODNS_CONFIG") else None)
    wanted = [named] if named else list(map(Path, DEFAULT_FILES))
    if kept.main not in [path.absolute() for path in wanted]:
        raise _refuse(kept, f"was made from {kept.main}, not from {' or '.join(map(str, wanted))}")


def _check_user(kept: Kept, server: Server) -> None:
    """Root takes orders from another user's folder only if it is to become that user.

    Who has taken over the daemon's user could write there that the next start stays root.
    """
    if os.geteuid() != 0 or kept.owner == 0:
        return
    try:
        user = None if server.user is None else pwd.getpwnam(server.user).pw_uid
    except KeyError:
        user = None
    if user != kept.owner:
        raise _refuse(kept, f"belongs to user {kept.owner}, and does not have root become that user; root does not trust it")


def _refuse(kept: Kept, text: str) -> ConfigError:
    return ConfigError((Complaint(Severity.ERROR, Place(str(kept.folder)), "", text),))
