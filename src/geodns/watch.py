"""Which files have changed and are quiet again: by looking at them, not by being told.

Knows what tells one content of a file from another without reading it: where its name leads, device, inode, size and time
of change. That works on network file systems, in containers, for renames, and for folders that are swapped by a symbolic
link, where notifications of the kernel do not arrive. Knows nothing of what the files are for.
"""

from __future__ import annotations

import asyncio
import glob
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

EVERY = 1.0  # seconds between two looks
REST = 100  # times as long as a look took is the pause after it, at least
QUIET = 2.0  # seconds that a file must have been the same for
HOLD = 10  # times `QUIET`: so long do files that are quiet wait for others that are not
PATIENCE = 10.0  # seconds until a look that has not ended is told
AGO = 1.0  # seconds by which a sight must be older than a load, for the load to have read what was seen

_log = logging.getLogger(__name__)


class Print(NamedTuple):
    """What a file looks like from outside. Two that are equal are taken for the same content."""

    target: str  # all symbolic links resolved
    device: int
    inode: int
    size: int
    mtime: int  # nanoseconds; it may also go back


def read_print(path: Path) -> Print | None:
    """What *path* looks like now, None where nothing is; OSError where nobody can say.

    A path with ``*``, ``?`` or ``[`` that is no file itself is a pattern: it looks like all files together that match it.
    """
    found = _read_file(str(path))
    return _read_matches(str(path)) if found is None and glob.has_magic(str(path)) else found


def _read_file(path: str) -> Print | None:
    try:
        target = os.path.realpath(path, strict=True)
        found = os.stat(target)  # noqa: PTH116 - a string already
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Print(target, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _read_matches(pattern: str) -> Print:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern with its folder
    prints = [found for name in matches if (found := _read_file(name)) is not None]
    newest = max((found.mtime for found in prints), default=0)
    return Print("\0".join(matches), 0, sum(found.inode for found in prints), sum(found.size for found in prints), newest)


_UNREAD = Print("", -1, -1, -1, -1)  # equals no file: whatever is there has not been read


@dataclass(frozen=True, slots=True)
class Sight:
    """One file as it was accepted, as it was seen last, and since when it looks like that (monotonic)."""

    accepted: Print | None
    seen: Print | None
    since: float


class Load(NamedTuple):
    """A load that has read files: when it began, by both clocks."""

    files: frozenset[Path]
    mono: float
    wall: float


class Watch:
    """The files, what was accepted of each, and what was seen last. `follow` alone may be called while `look` is at work."""

    def __init__(
        self, files: Iterable[Path], quiet: float = QUIET, stat: Callable[[Path], Print | None] = read_print
    ) -> None:
        """What *files* look like at the first look is accepted."""
        self._quiet, self._stat = quiet, stat
        self._sights: dict[Path, Sight | None] = dict.fromkeys(files)
        self._loads: deque[Load] = deque()
        self._wall = float("inf")  # when what is served was loaded: newer files were not read
        self._told: frozenset[Path] = frozenset()

    @property
    def files(self) -> frozenset[Path]:
        """What is looked at."""
        return frozenset(self._sights)

    def follow(self, files: Iterable[Path], mono: float, wall: float) -> None:
        """From the next look on these *files*, which a load has read that began at *mono* and *wall*.

        What was seen before that is accepted. What changed since then counts as a change, also for a file that is seen for
        the first time: one that is newer than the load may have been written after it was read.
        """
        self._loads.append(Load(frozenset(files), mono, wall))

    def look(self, now: float) -> frozenset[Path]:
        """The files that differ from what was accepted and have been the same for `quiet` seconds; *now* is monotonic.

        While others still change they wait, at most `HOLD` times as long: what one command writes is one change. A file of
        which nobody can say what it looks like stays as it was.
        """
        while self._loads:
            self._take_up(self._loads.popleft())
        changed, moving = set(), False
        for path, before in self._sights.items():
            try:
                found = self._stat(path)
            except OSError:
                continue
            sight = self._sights[path] = self._meet(before, found, now)
            if sight.seen == sight.accepted:
                continue
            if now - sight.since >= self._quiet:
                changed.add(path)
            else:
                moving = True
        waited = max((now - kept.since for path in changed if (kept := self._sights[path])), default=0.0)
        self._told = frozenset() if moving and waited < HOLD * self._quiet else frozenset(changed)
        return self._told

    def accept(self) -> None:
        """What the last look told is known: from now on only what differs from it is a change."""
        for path in self._told:
            if sight := self._sights[path]:
                self._sights[path] = replace(sight, accepted=sight.seen)
        self._told = frozenset()

    def _take_up(self, load: Load) -> None:
        sights = {path: self._sights.get(path) for path in load.files}
        for path, sight in sights.items():
            if sight is not None and sight.since + AGO <= load.mono:
                sights[path] = replace(sight, accepted=sight.seen)
        self._sights, self._wall = sights, load.wall

    def _meet(self, before: Sight | None, found: Print | None, now: float) -> Sight:
        if before is not None:
            return before if before.seen == found else Sight(before.accepted, found, now)
        read = self._wall == float("inf") or (found is not None and found.mtime < self._wall * 1e9)
        return Sight(found if read else _UNREAD, found, now)


async def watch_files(
    watch: Watch, changed: Callable[[frozenset[Path]], None], every: float = EVERY, patience: float = PATIENCE
) -> None:
    """Look at the files of *watch* every so many seconds and tell *changed*, until cancelled.

    Each look is a thread of its own, at most one at a time: a file system that does not reply stops the watch, and says so
    once, but neither the loop nor the end of the process, which waits for no such thread. Where there are thousands of files
    looks are rarer, so that they take a hundredth of a processor at most.
    """
    loop, pause = asyncio.get_running_loop(), every
    while True:
        await asyncio.sleep(pause)
        look = _look_in_thread(loop, watch)
        done, _ = await asyncio.wait((look,), timeout=patience)
        if not done:
            _log.error("watching: the file system has not replied for %g s; changes of files go unnoticed", patience)
            await asyncio.wait((look,))
            _log.warning("watching: the file system replies again")
        try:
            files, took = look.result()
        except Exception:
            _log.exception("watching: the watch has ended, which is a bug in geodns; changes of files go unnoticed")
            return
        pause = max(every, REST * took)
        if files:
            watch.accept()
            changed(files)


def _look_in_thread(loop: asyncio.AbstractEventLoop, watch: Watch) -> asyncio.Future[tuple[frozenset[Path], float]]:
    """What *watch* sees, and the seconds of processor time that it took."""
    future: asyncio.Future[tuple[frozenset[Path], float]] = loop.create_future()

    def tell(files: frozenset[Path], took: float, failure: BaseException | None) -> None:
        if future.done():  # cancelled: nobody waits
            return
        if failure is None:
            future.set_result((files, took))
        else:
            future.set_exception(failure)

    def look() -> None:
        try:
            found, failure = watch.look(time.monotonic()), None
        except Exception as error:
            found, failure = frozenset(), error
        try:
            loop.call_soon_threadsafe(tell, found, time.thread_time(), failure)
        except RuntimeError:  # the loop was closed while the file system kept us waiting
            return

    threading.Thread(target=look, name="watch", daemon=True).start()
    return future
