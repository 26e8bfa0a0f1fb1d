"""One daemon for each state directory: a lock that its process holds, and hands to its successor.

Knows the file `lock` and the pid in it. Knows nothing of what else lies in the directory. The lock is flock(2): it belongs
to the open file, so it goes with the process however that ends, and passes on with the descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from .errors import StartError

FILE = "lock"
PID_MOST = 32  # octets of the file that are read


def lock_state(state: Path) -> int:
    """Take the lock of *state*, and return the descriptor that holds it; closing that lets it go.

    Raises StartError, which names the process that has it.
    """
    path = state / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StartError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sign_lock(descriptor)
    except OSError as error:
        holder = _read_pid(descriptor)
        os.close(descriptor)
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise StartError(f"{path}: cannot be locked: {error.strerror}") from error
        whose = f"by process {holder}" if holder else "by another process"
        raise StartError(
            f"{state}: in use {whose}: one geodns for each state directory (`geodns serve --replace` takes over from it)"
        ) from error
    return descriptor


def inherit_lock(descriptor: int, state: Path | None) -> bool:
    """Is *descriptor*, which a predecessor held, the lock of *state*? Then it is ours now, with our pid; else it is closed.

    Never raises: a lock that cannot be signed is held all the same.
    """
    try:
        ours = state is not None and os.path.samestat(os.fstat(descriptor), (state / FILE).stat())
        if ours:
            sign_lock(descriptor)
    except OSError:
        ours = False
    if not ours:
        os.close(descriptor)
    return ours


def sign_lock(descriptor: int) -> None:
    """Write our pid into the file, for those who find it locked. Raises OSError."""
    octets = b"%d\n" % os.getpid()
    os.pwrite(descriptor, octets, 0)
    os.ftruncate(descriptor, len(octets))


def find_holder(state: Path) -> int | None:
    """The process that holds the lock of *state*, as far as the file tells; None where nobody does."""
    try:
        descriptor = os.open(state / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _read_pid(descriptor: int) -> int | None:
    try:
        text = os.pread(descriptor, PID_MOST, 0).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
