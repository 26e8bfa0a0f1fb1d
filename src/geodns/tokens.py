"""The token of the API: a secret in a file.

Knows what a token looks like and who should be able to read it. Knows nothing of who asks for one. No text made here shows
any of it.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import NamedTuple

from .errors import TokenError

LEAST, MOST = 16, 1024  # characters
SHAPE = re.compile(r"[!-~]+")  # what a header can carry, without blanks; RFC 6750 2.1 allows fewer


class Token(NamedTuple):
    """A token, and what is wrong with its file (empty: nothing)."""

    text: str
    warning: str


def read_token(path: Path) -> Token:
    """The first line of *path*. Raises TokenError, in one line, for a file that is not there or holds no token."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            line = file.readline(MOST + 2).decode("latin-1").strip()
    except OSError as error:
        raise TokenError(f"{path}: cannot be read: {error.strerror}") from error
    if not LEAST <= len(line) <= MOST:
        found = "nothing" if not line else f"{len(line)} characters" if len(line) < LEAST else "more"
        raise TokenError(f"{path}: the first line must be a token of {LEAST} to {MOST} characters, found {found}")
    if not SHAPE.fullmatch(line):
        raise TokenError(f"{path}: the first line must be a token of printable ASCII characters without blanks")
    everybody = mode & stat.S_IROTH
    return Token(line, f"{path}: everybody on this machine may read the token (chmod o-r {path})" if everybody else "")
