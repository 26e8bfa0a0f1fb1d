"""The shim's connection to the daemon: one question on the wire at a time, and no answer passed on that is not whole.

Knows where a block ends, when a connection can be trusted no longer, and when to try again. Knows nothing of PowerDNS, or
of what a question means. After whatever went wrong in the middle of a block the connection is dropped and never used
again, so no answer can ever be taken for that to another question.

Imports little, and nothing that imports much: every thread of PowerDNS has a process of its own that holds it.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

PATIENCE = 1.0  # seconds that a question takes at most, in all: PowerDNS kills us after its pipe-timeout, 2 s
GREETING_LIMIT = 10.0  # seconds after which a connection on which nobody greets is tried anew
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between attempts to connect; doubled until an answer has come
REPEAT, CALM = 60.0, 5.0  # seconds after which the same complaint is said again; at least so many between any two
TRIES = 2  # connections that one question is sent on: the second where a daemon hands over to its successor meanwhile
READ_SIZE = 1 << 16  # octets read at once
LONGEST_BLOCK = 1 << 23  # octets of an answer: 4,000 records of the longest name
LONGEST_GREETING = 1 << 10  # octets
SHOWN = 60  # octets of a line that nobody understands
OK, END, FAIL = b"OK", b"END", b"FAIL"
RECORDS = (b"DATA\t", b"LOG\t")  # how the lines before the end of an answer begin


class DisorderError(Exception):
    """The daemon sent what is no answer, or more than one."""


class Link:
    """At most one connection, and the reasons not to have one.

    *find* tells the path of the daemon's socket (OSError: there can be none); *revive* is called whenever nobody could be
    connected to there; *poller* watches our end of the connection; *say* takes a line for the operator.
    """

    def __init__(
        self,
        find: Callable[[], str],
        revive: Callable[[], None],
        poller: select.poll,
        say: Callable[[str], None],
    ) -> None:
        self._find, self._revive, self._poller, self._say = find, revive, poller, say
        self._hello = b""  # what the daemon is greeted with; nothing before PowerDNS has greeted us
        self._socket: socket.socket | None = None
        self._greeted = False  # the daemon has answered our greeting: it may be asked
        self._greeting = b""  # what has arrived of its answer
        self._patient = True  # a daemon that let a question wait in vain is not waited for until it has greeted again
        self._allowed = 0.0  # seconds that the socket waits now
        self._next = self._pause = 0.0  # when to connect or to give up a greeting; the pause after the last attempt
        self._complaint, self._said = "", -math.inf  # what was said last, and when
        self._believed_away = False  # by the operator

    def open(self, hello: bytes) -> None:
        """Greet the daemon with *hello* from now on."""
        if hello != self._hello:
            self.drop()
            self._hello, self._next = hello, 0.0

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close()
        self._socket, self._greeted = None, False

    def due(self) -> int | None:
        """Milliseconds until `tend` has something to do; None: nothing."""
        if self._greeted or not self._hello:
            return None
        return max(0, math.ceil(1000 * (self._next - time.monotonic())))

    def tend(self) -> None:
        """Connect, or give up a connection on which nobody greets, if it is time for that. Never waits."""
        if self._greeted or not self._hello or time.monotonic() < self._next:
            return
        if self._socket is not None:
            self._lose(f"no greeting within {GREETING_LIMIT:g} s")
        else:
            self._connect()

    def look(self) -> None:
        """The connection has something to say, although nothing was asked."""
        if not self._greeted:
            self._read_greeting(0.0)
        elif self._socket is not None:
            self._lose("the connection was closed" if _is_closed(self._socket) else "spoke without being asked")

    def ask(self, question: bytes, *, free: bool = False) -> bytes | None:
        """The answer to *question* (a line with its end), a whole block; None: there is none, after `PATIENCE` at most.

        *free*: any text may stand before END, as in replies to CMD.
        """
        deadline = time.monotonic() + PATIENCE
        for _ in range(TRIES):
            if not self._greeted and not self._await_greeting(deadline):
                return None
            try:
                block = self._exchange(question, deadline, free)
            except (TimeoutError, BlockingIOError):
                self._patient = False
                self._lose(f"no answer within {PATIENCE:g} s")
                return None
            except DisorderError as error:
                self._lose(str(error))
                return None
            except OSError as error:
                self._lose(_describe(error))
            else:
                self._pause = 0.0
                return block
        return None

    def _exchange(self, question: bytes, deadline: float, free: bool) -> bytes:
        """Send *question*, read the block. Raises DisorderError, OSError (BlockingIOError: it took too long)."""
        opened = self._socket
        assert opened is not None, "who has greeted is connected"
        self._allow(deadline)
        opened.sendall(question)
        chunks: list[bytes] = []
        rest, size = b"", 0
        while True:
            chunk = opened.recv(READ_SIZE)
            if not chunk:
                raise ConnectionResetError("the connection was closed before the answer")
            chunks.append(chunk)
            size += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            if has_ended(lines, rest, free):
                return chunk if len(chunks) == 1 else b"".join(chunks)
            if size > LONGEST_BLOCK:
                raise DisorderError("sent an answer without an end")
            self._allow(deadline)

    def _await_greeting(self, deadline: float) -> bool:
        """Connect if need be and may be; True once the daemon has greeted. Waits only for a daemon that is worth it."""
        if self._socket is None:
            self.tend()
        while self._socket is not None and not self._greeted:
            left = deadline - time.monotonic() if self._patient else 0.0
            if not self._read_greeting(max(0.0, left)):
                break
        return self._greeted

    def _connect(self) -> None:
        now = time.monotonic()
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._next = now + self._pause
        opened, path = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK), ""
        try:
            path = self._find()
            opened.connect(path)
            opened.sendall(self._hello)
            opened.setblocking(True)  # up to a limit
        except OSError as error:
            opened.close()
            self._complain(f"{path}: {_describe(error)}" if path else _describe(error))
            self._revive()
            return
        self._socket, self._greeting, self._allowed = opened, b"", 0.0
        self._poller.register(opened, select.POLLIN)
        self._next = now + GREETING_LIMIT

    def _read_greeting(self, limit: float) -> bool:
        """Read on in the daemon's greeting, for *limit* seconds at most; False: nothing came."""
        opened = self._socket
        assert opened is not None, "somebody is to greet"
        try:
            if limit:
                self._set_limit(limit)
            octets = opened.recv(LONGEST_GREETING, 0 if limit else socket.MSG_DONTWAIT)
        except BlockingIOError:
            if limit:
                self._patient = False
            return False
        except OSError as error:
            self._lose(_describe(error))
            return False
        self._greeting += octets
        line, end, more = self._greeting.partition(b"\n")
        if not octets:
            self._lose("the connection was closed instead of a greeting")
        elif more or len(line) > LONGEST_GREETING or (end and not line.startswith(OK)):
            self._lose(f"does not greet as geodns does: {_show(line)}")
        elif end:
            self._greeted = self._patient = True
            self._relax()
        return True

    def _allow(self, deadline: float) -> None:
        """Let the socket wait until *deadline*. Raises TimeoutError when that is over."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if abs(left - self._allowed) > 0.001:  # a millisecond more or less is not worth the system call
            self._set_limit(left)

    def _set_limit(self, seconds: float) -> None:
        """As `settimeout`, but in the kernel (socket(7)), which spares a call of poll(2) for each recv(2)."""
        if self._socket is not None:
            limit = struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1e6)))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._allowed = seconds

    def _lose(self, reason: str) -> None:
        """Drop the connection. One that had served well is tried again at once."""
        self.drop()
        self._next = time.monotonic() + self._pause
        self._complain(reason)

    def _complain(self, reason: str) -> None:
        """Say *reason*, but not each time: a daemon that goes wrong at every question would fill PowerDNS's log."""
        now = time.monotonic()
        pause = CALM if not self._believed_away or reason != self._complaint else REPEAT
        if now - self._said > pause:
            self._complaint, self._said, self._believed_away = reason, now, True
            self._say(f"{reason}; questions fail until there is a daemon")

    def _relax(self) -> None:
        if self._believed_away:
            self._believed_away = False
            self._say("connected to the daemon")


def has_ended(lines: Sequence[bytes], rest: bytes, free: bool) -> bool:
    """Do *lines*, the last that came, end the block? *rest* is what came after the last line feed.

    Raises DisorderError for a line that no answer has, and for anything after the end.
    """
    for number, line in enumerate(lines, 1):
        if line == END or (line == FAIL and not free):
            if rest or number < len(lines):
                raise DisorderError("sent more than one answer to one question")
            return True
        if not free and not line.startswith(RECORDS):
            raise DisorderError(f"sent a line that is no answer: {_show(line)}")
    return False


def _is_closed(opened: socket.socket) -> bool:
    try:
        return not opened.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True


def _describe(error: OSError) -> str:
    return error.strerror or str(error)


def _show(line: bytes) -> str:
    return repr(line[:SHOWN])[1:]
