"""``geodns pipe``: the shim between PowerDNS's pipe backend and the daemon's backend socket.

Knows the handshake, and that each line from PowerDNS gets one block or one FAIL, soon, whatever becomes of the daemon. Knows
nothing of what a question means (`server.pdns_pipe`) or of when the daemon can be asked (`pipe_link`).

PowerDNS starts one for each of its threads and waits for its banner before it serves anybody; and a shim that ends while
PowerDNS lives makes one lookup silently empty, which PowerDNS then remembers for every client. So it imports little,
greets before it connects, and ends when its standard input does, for no other reason.
"""

from __future__ import annotations

import os
import select
import signal

from . import __version__
from .pipe_link import READ_SIZE, Link
from .wire.lines import Lines

STDIN, STDOUT, STDERR = 0, 1, 2
FIRST_FOREIGN, MOST_FOREIGN = 3, 1 << 16  # descriptors that may be PowerDNS's, and never are ours
ABIS = (b"1", b"2", b"3", b"4", b"5")
COMMANDS = b"5"  # the ABI that has CMD
HELLO, COMMAND = b"HELO", b"CMD"
OK, FAIL = f"OK\tgeodns {__version__} ready\n".encode(), b"FAIL\n"
# In its search for a zone PowerDNS (4.7 to 5.1) reads on after a FAIL, up to an END: without one it waits for all of its
# pipe-timeout, kills us, and does the same again with the next of us. Everywhere else an END would be the next answer.
FAILED_SEARCH = FAIL + b"END\n"
SEARCH = [b"SOA", b"-1"]  # type and zone id of that search, and of nothing else
# END alone ends the reply to a command: pdnsutil would wait for it after a FAIL
AWAY = b"the geodns daemon does not answer\nEND\n"


def run(path: str | None, config: str | None) -> int:
    """Be the shim until the end of standard input: of the daemon that listens at *path*, or else of one for *config*.

    With *config* a daemon is started where none is running. Returns the exit status.
    """
    close_foreign()
    if not os.isatty(STDIN):  # by hand, ^C should do what it does
        outlive_signals()
    poller = select.poll()
    poller.register(STDIN, select.POLLIN)
    if path is not None:
        link = Link(lambda: path, lambda: None, poller, say)
    else:
        from .backend_only import Starter  # noqa: PLC0415 (hashlib: not for those who need no daemon)

        starter = Starter(config or "", say)
        link = Link(starter.find, starter.revive, poller, say)
    try:
        Shim(link, poller).serve()
    finally:
        link.drop()
    return 0


def close_foreign() -> None:
    """Close what PowerDNS left open in us: its pipes, and even connections of its clients, who would never see their end."""
    os.closerange(FIRST_FOREIGN, min(os.sysconf("SC_OPEN_MAX"), MOST_FOREIGN))


def outlive_signals() -> None:
    """Service managers signal all of PowerDNS's processes; lookups that it still makes need an answer. EOF ends us."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def say(text: str) -> None:
    """A line for the operator: PowerDNS hands our standard error on. Never raises."""
    try:
        os.write(STDERR, f"geodns pipe: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        return  # nobody reads it


class Shim:
    """PowerDNS's side: lines in, blocks out."""

    def __init__(self, link: Link, poller: select.poll) -> None:
        self._link, self._poller = link, poller
        self._lines = Lines()
        self._abi = b""  # as PowerDNS said it; none before its greeting, or where we do not speak it
        self._refused = False

    def serve(self) -> None:
        """Answer every line until there are no more. Half a line at the end is no question."""
        while True:
            self._await_lines()
            octets = os.read(STDIN, READ_SIZE)
            if not octets:
                return
            for line in self._lines.feed(octets):
                reply = self._reply(line)
                if not write(FAILED_SEARCH if reply == FAIL and is_search(line) else reply):
                    return

    def _await_lines(self) -> None:
        """Return when PowerDNS has written something. Until then see to the connection, so that it is there when needed."""
        while True:
            heard = self._poller.poll(self._link.due())
            asked = False
            for descriptor, _ in heard:
                if descriptor == STDIN:
                    asked = True
                else:
                    self._link.look()
            if asked:
                return
            if not heard:
                self._link.tend()

    def _reply(self, line: bytes | None) -> bytes:
        """One block for *line* (None: it was too long), or FAIL."""
        if line is None:
            return FAIL
        kind, _, rest = line.partition(b"\t")
        if kind == HELLO:
            return self._greet(rest)
        if not self._abi:
            return FAIL
        command = kind == COMMAND and self._abi == COMMANDS
        block: bytes | None = None
        try:
            block = self._link.ask(line + b"\n", free=command)
        except Exception as error:  # a mistake of ours must neither end us nor leave a question without an answer
            self._link.drop()
            say(f"{type(error).__name__}: {error}: this is a bug in geodns")
        return (AWAY if command else FAIL) if block is None else block

    def _greet(self, abi: bytes) -> bytes:
        """PowerDNS takes whatever we say for agreement, and goes on: what we do not speak fails from here on, for ever."""
        if abi not in ABIS:
            self._refused = True
            say(f"pipe-abi-version must be 1..5, PowerDNS says {abi[:20]!r}; every question fails")
        self._abi = b"" if self._refused else abi
        if self._abi:
            self._link.open(b"%b\t%b\n" % (HELLO, abi))
        return FAIL if self._refused else OK


def is_search(line: bytes | None) -> bool:
    """Does PowerDNS search for a zone here, with no client in mind?"""
    return line is not None and line.startswith(b"Q\t") and line.split(b"\t")[3:5] == SEARCH


def write(octets: bytes) -> bool:
    """Give PowerDNS all of *octets*; False where it does not read any more, which is as good as EOF."""
    try:
        sent = os.write(STDOUT, octets)
        while sent < len(octets):
            sent += os.write(STDOUT, octets[sent:])
    except OSError:
        return False
    return True
