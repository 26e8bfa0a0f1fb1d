"""The file of the query log: appended to by a thread of its own, rotated by size or on demand.

Knows files, and that whoever brings lines never waits: what the disk does not take in time is lost and counted. Knows
nothing of what stands in the lines.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from enum import Enum, auto
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

MODE = 0o640
WAITING_MOST = 4_000_000  # octets that may wait for the disk
OPEN_WAIT = 5.0  # seconds that a first opening may take
LAST_WAIT = 2.0  # seconds that the disk has for what waits when we stop

# A pipe without a reader must not hold up its writer, and a terminal must not become ours.
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY


class LogFile:
    """A file that is only appended to. *max_size* in octets (None: it is never rotated), *keep* older files."""

    def __init__(self, path: Path, max_size: int | None, keep: int) -> None:
        self._path, self._max_size, self._keep = path, max_size, keep
        self._descriptor = -1
        self._size = 0
        self._regular = False

    def open(self) -> None:
        """Open the path, anew where it was open: another program may have renamed the file. Raises OSError.

        A file that is made has `MODE` whatever the umask, so that its group can collect it; one that is there keeps its own.
        """
        self.close()
        try:
            self._descriptor = os.open(self._path, FLAGS)
        except FileNotFoundError:
            self._descriptor = os.open(self._path, FLAGS | os.O_CREAT, MODE)
            os.fchmod(self._descriptor, MODE)
        found = os.fstat(self._descriptor)
        self._size, self._regular = found.st_size, stat.S_ISREG(found.st_mode)

    def write(self, lines: bytes) -> None:
        """Append whole *lines*. Raises OSError; then none of them is in the file, so that no line is ever cut in two."""
        if self._descriptor < 0:
            self.open()
        if self._max_size is not None and self._regular and self._size and self._size + len(lines) > self._max_size:
            self._rotate()
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            if self._regular and len(rest) < len(lines):
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(lines)

    def close(self) -> None:
        """Close what is open; a later `write` opens it again."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _rotate(self) -> None:
        """Move PATH to PATH.1, that to PATH.2 and so on, and open PATH anew."""
        if self._is_ours():
            for number in range(self._keep, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._numbered(number - 1).rename(self._numbered(number))
            if self._keep:
                self._path.rename(self._numbered(1))
            else:
                self._path.unlink()
        self.open()

    def _is_ours(self) -> bool:
        """Is the path still the file that is open? Otherwise somebody else has rotated it already."""
        try:
            found, own = self._path.stat(), os.fstat(self._descriptor)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Lines(NamedTuple):
    """A portion of the log: whole lines, and how many."""

    octets: bytes
    number: int


class Wish(Enum):
    """What the writer is told to do after what it was brought before."""

    REOPEN = auto()
    STOP = auto()


class Writer:
    """A thread that writes to *file* what it is brought. Its counters only grow; each is changed by one thread alone."""

    def __init__(self, file: LogFile, waiting_most: int = WAITING_MOST) -> None:
        self._file, self._waiting_most = file, waiting_most
        self._queue: SimpleQueue[Lines | Wish] = SimpleQueue()
        self._brought = self._taken = 0  # octets
        self._reopening = False  # that wish waits already: a hundred signals must not make a hundred of it
        self._opened = threading.Event()
        self._failure: OSError | None = None  # of the first opening
        self._thread = threading.Thread(target=self._run, name="query log", daemon=True)
        self.written = 0  # lines
        self.lost = 0  # lines that the file did not take
        self.refused = 0  # lines that were too many to wait
        self.trouble = ""  # what the file said last; empty while it takes what it is given

    def start(self) -> None:
        """Open the file and write from now on. Raises OSError for a file that cannot be opened, or not in time. Blocks."""
        self._thread.start()
        if not self._opened.wait(OPEN_WAIT):
            raise TimeoutError(0, f"it does not open within {OPEN_WAIT:g} s")
        if self._failure is not None:
            raise self._failure

    def bring(self, lines: Lines) -> None:
        """Have *lines* written, or count them where too much waits already. Never waits."""
        if self._brought - self._taken + len(lines.octets) > self._waiting_most:
            self.refused += lines.number
            return
        self._brought += len(lines.octets)
        self._queue.put(lines)

    def reopen(self) -> None:
        """Open the path anew, after what was brought before is written."""
        if not self._reopening:
            self._reopening = True
            self._queue.put(Wish.REOPEN)

    def stop(self) -> None:
        """Write what waits and close, as far as that is done in `LAST_WAIT`. Blocks."""
        self._queue.put(Wish.STOP)
        self._thread.join(LAST_WAIT)

    def _run(self) -> None:
        try:
            self._file.open()
        except OSError as error:
            self._failure = error
            self._opened.set()
            return
        self._opened.set()
        while (item := self._queue.get()) is not Wish.STOP:
            if isinstance(item, Lines):
                self._write(item)
                self._taken += len(item.octets)
            else:
                self._reopening = False
                self._file.close()
                self._write(Lines(b"", 0))  # the new file is there at once, even if nobody asks anything
        self._file.close()

    def _write(self, lines: Lines) -> None:
        try:
            self._file.write(lines.octets)
        except OSError as error:
            self.lost += lines.number
            self.trouble = error.strerror or str(error)
        else:
            self.written += lines.number
            self.trouble = ""
