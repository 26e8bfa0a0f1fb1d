"""Where the octets of a configuration come from, and what was taken.

Knows reading whole files, patterns, and when a file was changed. Knows nothing of what stands in it. All that a load reads
of a configuration goes through one `Files`: so what is kept of it is what was read, and kept copies can stand in.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

KEPT_MOST = 256 * 1024 * 1024  # octets of content that a `Disk` holds; what goes beyond is read again, and has no copy
MEBIBYTE = 1024 * 1024


class TooLargeError(ValueError):
    """A file with more octets than may be read of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One file as it was read."""

    octets: bytes | None  # None: too much was read in all to hold it too
    size: int
    digest: bytes  # SHA-256
    changed: int  # modification time, seconds since 1970


class Files(Protocol):
    """The disk, or what stands in for it. Paths may be relative; those that come back are as they were asked for."""

    @property
    def taken(self) -> Mapping[Path, Taken]:
        """What was read, by absolute path, in the order in which it was first read."""

    @property
    def matched(self) -> Mapping[tuple[Path, str], tuple[Path, ...]]:
        """What `match` found, by absolute folder and pattern."""

    def read(self, path: Path, most: int) -> bytes:
        """All octets of the file. Raises OSError, ValueError for what is no file, TooLargeError for more than *most*."""

    def match(self, folder: Path, pattern: str, but: Path) -> list[Path]:
        """The files, not folders, that match *pattern* from *folder* on, in order, without the file *but*."""

    def changed(self, path: Path) -> int | None:
        """When a file that was read had last been changed, seconds since 1970; None for one that was not."""


class Disk:
    """The files as they are; each is read once, so that all who read it see the same."""

    def __init__(self) -> None:
        self.taken: dict[Path, Taken] = {}
        self.matched: dict[tuple[Path, str], tuple[Path, ...]] = {}
        self._held = 0

    def read(self, path: Path, most: int) -> bytes:
        """See `Files`. The first file may be a pipe (`-c <(...)`); reading other pipes, or devices, might never end."""
        known = self.taken.get(path.absolute())
        if known is not None and known.octets is not None:
            return known.octets
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and (self.taken or not stat.S_ISFIFO(mode)):
            raise ValueError("it is not a file")
        with path.open("rb") as stream:
            octets = stream.read(most + 1)
            changed = int(os.fstat(stream.fileno()).st_mtime)
        if len(octets) > most:
            raise TooLargeError(f"is larger than {most // MEBIBYTE} MiB")
        held = self._held + len(octets) <= KEPT_MOST
        self._held += len(octets) if held else 0
        digest = hashlib.sha256(octets).digest()
        self.taken[path.absolute()] = Taken(octets if held else None, len(octets), digest, changed)
        return octets

    def match(self, folder: Path, pattern: str, but: Path) -> list[Path]:
        """See `Files`."""
        # (Path.glob refuses absolute patterns, and the folder's own name may hold brackets.)
        full = os.path.join(glob.escape(str(folder)), pattern)  # noqa: PTH118
        names = map(Path, sorted(glob.glob(full, recursive=True)))  # noqa: PTH207
        found = [name for name in names if not name.is_dir() and not _is_same(name, but)]
        self.matched[folder.absolute(), pattern] = tuple(path.absolute() for path in found)
        return found

    def changed(self, path: Path) -> int | None:
        """See `Files`."""
        known = self.taken.get(path.absolute())
        return None if known is None else known.changed


def digest_files(taken: Iterable[Taken]) -> str:
    """One digest for all that was read, hexadecimal: of contents alone, so that nodes with the same files agree."""
    whole = hashlib.sha256()
    for one in taken:
        whole.update(one.digest)
    return whole.hexdigest()


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
