"""Finding or starting the daemon that ``geodns pipe --config FILE`` needs: ``geodns serve --backend-only``.

Knows where its socket and its lock are, which follows from the user and the configuration's real path without reading it,
and how soon a daemon that died is started again. Knows nothing of what is said over the socket, or of what the daemon does.

The lock is flock(2) on a file beside the socket. Whoever has it is that daemon: the shim that starts one takes the lock
first and hands it on, so that a daemon lives exactly as long as the lock is taken, and nobody ever starts a second.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Mapping

LOCK_VARIABLE = "GEODNS_BACKEND_LOCK"  # the number of the descriptor that a daemon inherits the lock by
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two starts of a daemon that dies; doubled each time
CALM = 60.0  # seconds after which a start is not held against the next one
LOOK = 0.1  # seconds between two looks at the lock of a daemon that does not listen yet
LONGEST_RECORD = 64  # octets of the lock file that are read
# What a service manager says to PowerDNS alone: a daemon that announced itself as the service would confuse it.
FOREIGN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")
DEFAULTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)  # what a shim ignores, a daemon must not
TEMPORARY = "/tmp"  # noqa: S108 (the folder in it is checked)


class Spot:
    """Where the daemon for one configuration is: its socket and its lock."""

    __slots__ = ("lock", "socket")

    def __init__(self, base: str) -> None:
        self.socket, self.lock = f"{base}.sock", f"{base}.lock"


def find_spot(config: str, environ: Mapping[str, str] = os.environ) -> Spot:
    """The spot for the configuration at *config*. It is the same however the path is written; the file need not be there.

    In `$RUNTIME_DIRECTORY` if that is ours (systemd makes it), else in /tmp/geodns-UID, which is made. Raises OSError for
    a folder that somebody else could write to: whoever owns the socket decides what PowerDNS answers.
    """
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(config)), digest_size=8).hexdigest()
    return Spot(os.path.join(_find_folder(environ), f"geodns-{digest}"))  # noqa: PTH118 (pathlib takes 7 ms to import)


def _find_folder(environ: Mapping[str, str]) -> str:
    """Not /run/user/UID, which goes when the user logs out, with the socket."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime and not _find_fault(runtime):
        return runtime
    folder = f"{TEMPORARY}/geodns-{os.geteuid()}"
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        if fault := _find_fault(folder):
            raise OSError(errno.EPERM, f"{folder}: {fault}; remove it") from None
    return folder


def _find_fault(folder: str) -> str:
    """Why we must not keep a socket in *folder*; empty where we may."""
    try:
        found = os.lstat(folder)
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISDIR(found.st_mode):
        return "is no folder"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to us ({os.geteuid()})"
    return "others may write there" if found.st_mode & 0o022 else ""


def take_lock(spot: Spot) -> int | None:
    """The descriptor that holds the lock of *spot*, which closing lets go; None where a daemon has it. Raises OSError."""
    descriptor = os.open(spot.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def claim_lock(spot: Spot, environ: Mapping[str, str] = os.environ) -> int | None:
    """The lock of *spot* for a daemon that begins: what its shim handed it, else by itself. Otherwise `take_lock`."""
    given = environ.get(LOCK_VARIABLE, "")
    if given.isascii() and given.isdigit():
        descriptor = int(given)
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(spot.lock)):  # noqa: PTH116
                os.set_inheritable(descriptor, False)  # or its children would hold it after its death
                return descriptor
        except OSError:  # no such descriptor, or somebody removed the file: then there is a new one
            pass
    return take_lock(spot)


class Starter:
    """Starts the daemon for one configuration whenever nobody is one."""

    def __init__(self, config: str, say: Callable[[str], None]) -> None:
        self._config, self._say = os.path.abspath(config), say  # noqa: PTH100
        self._next = 0.0  # when to look again
        self._started: set[int] = set()  # processes of ours that may have ended
        self._failure = ""  # why the last start could not be made

    def find(self) -> str:
        """The path of the daemon's socket. Raises OSError where there can be none."""
        return find_spot(self._config).socket

    def revive(self) -> None:
        """Start a daemon if none is there, and the pause since the last start is over. Never raises, never waits."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK
        self._reap()
        try:
            lock = take_lock(find_spot(self._config))
            if lock is None:
                return  # it begins, or has its hands full
            try:
                self._start_if_due(lock, now)
            finally:
                os.close(lock)  # the daemon has its own
        except OSError as error:
            self._next = now + LONGEST_PAUSE
            if str(error) != self._failure:
                self._say(f"cannot start a daemon: {error}")
            self._failure = str(error)

    def _start_if_due(self, lock: int, now: float) -> None:
        count, last = read_starts(lock)
        if not 0 <= now - last <= CALM:  # long ago, or before this machine was booted
            count = 0
        elif now < last + find_pause(count):
            return
        os.pwrite(lock, b"%-31d\n%-31d\n" % (count + 1, int(now * 1000)), 0)  # one length, so nothing of before remains
        self._started.add(spawn(self._config, lock))
        self._say(f"starting the daemon for {self._config}")

    def _reap(self) -> None:
        """A child of ours that has ended would stay in the process table until we end."""
        for process in list(self._started):
            try:
                ended = os.waitpid(process, os.WNOHANG)[0]
            except ChildProcessError:
                ended = process
            if ended:
                self._started.discard(process)


def find_pause(count: int) -> float:
    """Seconds from the *count*-th start in a row to the next."""
    return float(min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)) if count else 0.0


def read_starts(lock: int) -> tuple[int, float]:
    """How often in a row a daemon was started, and when the last time (seconds, monotonic): all shims share the pauses."""
    try:
        count, milliseconds = os.pread(lock, LONGEST_RECORD, 0).split()
        return int(count), int(milliseconds) / 1000
    except ValueError:  # never started, or not ours
        return 0, 0.0


def spawn(config: str, lock: int) -> int:
    """Start the daemon with *lock*, in a session of its own, so that it outlives whoever starts it; returns its pid.

    It has nothing of PowerDNS's but standard error: what it printed would be an answer. Raises OSError.
    """
    environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    inherited = 3  # the only descriptor that it has beside the usual ones
    arguments = [sys.executable, "-P", "-m", "geodns", "serve", "--backend-only", "--config", config]
    return os.posix_spawn(
        sys.executable,
        arguments,
        environ | {LOCK_VARIABLE: str(inherited)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, 2, 1),
            (os.POSIX_SPAWN_DUP2, lock, inherited),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=DEFAULTS,
    )
