"""The last good configuration: copies of all its files, kept in the state directory, and reading from them.

Knows the folder `last-good`, its manifest, and how a complete one is there at every moment. Knows nothing of what stands in
the files, nor when one is made current. Databases are not kept: they are found where they lie.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config.files import Files, Taken
from ..errors import Complaint, ConfigError, Place, Severity

FOLDER = "last-good"
BEFORE = "last-good.old"  # complete too; there only while the newer one takes its place
MANIFEST = "manifest.json"
FORM = 1  # of the manifest
MANIFEST_MOST = 64 * 1024 * 1024  # octets; a hundred for each of some hundred thousand files
ABANDONED = 3600.0  # seconds after which staged copies belong to nobody
NAME_MOST = 60  # characters of a file's own name in the name of its copy


def stage(files: Files, main: Path, state: Path, owner: int, made: float | None = None) -> Path:
    """Copy beside all that was read of the configuration *main*, and return the folder, which `keep` makes current.

    The octets are those that were read, so it is what was compiled. *owner* is the process of the daemon that will keep it:
    it has one such folder, whatever is staged. *made*: seconds since 1970 (default: the clock). Everything is on the disk
    when this returns. Raises OSError; then nothing is left behind.
    """
    folder = state / f".{FOLDER}.{owner}.part"
    _remove_abandoned(state, folder)
    folder.mkdir(mode=0o700)
    try:
        entries = []
        for number, (path, taken) in enumerate(files.taken.items(), 1):
            if taken.octets is None:
                raise OSError(errno.EFBIG, f"{path} makes it too large")
            copy = f"{number:05d}-{re.sub('[^A-Za-z0-9._-]', '_', path.name)[-NAME_MOST:]}"
            _write(folder / copy, taken.octets)
            entries.append(_describe(path, copy, taken))
        matched = [[str(place), pattern, [*map(str, found)]] for (place, pattern), found in files.matched.items()]
        when = time.time() if made is None else made
        _write(folder / MANIFEST, _seal({"main": str(main.absolute()), "made": when, "files": entries, "matched": matched}))
        _sync(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def keep(state: Path, staged: Path) -> None:
    """Make *staged* the last good configuration. Raises OSError; the one before is there then, whole.

    A rename cannot replace a folder that holds files, so the old one steps aside first: between the two renames it is
    found under its other name.
    """
    current, before = state / FOLDER, state / BEFORE
    if current.exists():
        shutil.rmtree(before, ignore_errors=True)
        current.rename(before)
    try:
        staged.rename(current)
    except OSError:
        if before.exists():
            before.rename(current)
        raise
    _sync(state)
    shutil.rmtree(before, ignore_errors=True)


def find(state: Path) -> Path | None:
    """The folder of the last good configuration, or None."""
    return next((folder for folder in (state / FOLDER, state / BEFORE) if folder.is_dir()), None)


@dataclass(frozen=True, slots=True)
class Kept:
    """The last good configuration, in place of the disk: see `config.files.Files`. Paths are those of the originals."""

    folder: Path
    main: Path
    made: float  # when it was compiled, seconds since 1970
    owner: int  # the user whose folder it is
    taken: Mapping[Path, Taken]
    matched: Mapping[tuple[Path, str], tuple[Path, ...]]

    @property
    def when(self) -> str:
        """``2026-11-23T09:46:21Z``."""
        return datetime.fromtimestamp(self.made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def read(self, path: Path, most: int) -> bytes:
        """See `Files`. Raises OSError for a file that was not read when this was made."""
        known = self.taken.get(path.absolute())
        if known is None or known.octets is None:
            raise OSError(errno.ENOENT, f"there is no copy of it in {self.folder}")
        return known.octets

    def match(self, folder: Path, pattern: str, but: Path) -> list[Path]:
        """See `Files`: what matched when this was made."""
        return list(self.matched.get((folder.absolute(), pattern), ()))

    def changed(self, path: Path) -> int | None:
        """See `Files`."""
        known = self.taken.get(path.absolute())
        return None if known is None else known.changed


def open_kept(folder: Path, path: Path | None = None) -> Kept:
    """The copies in *folder*, each verified; with *path*, only if they are of that configuration.

    Raises ConfigError, one line: damaged, cut off, unreadable, of another version, of another configuration.
    """
    try:
        owner = folder.lstat().st_uid
        content = _unseal(_read(folder / MANIFEST, MANIFEST_MOST))
        main = Path(content["main"])
        if path is not None and path.absolute() != main:
            raise ValueError(f"was made from {main}, not from {path.absolute()}")
        taken = dict(_take(folder, entry) for entry in content["files"])
        matched = {(Path(at), str(pattern)): tuple(map(Path, found)) for at, pattern, found in content["matched"]}
        return Kept(folder, main, float(content["made"]), owner, taken, matched)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    except ValueError as error:
        text = str(error)
    except (LookupError, TypeError, RecursionError):
        text = f"damaged: {MANIFEST} lacks something"
    raise ConfigError((Complaint(Severity.ERROR, Place(str(folder)), "", f"{text}; the last good configuration is lost"),))


def _describe(path: Path, copy: str, taken: Taken) -> dict[str, Any]:
    """A file's line in the manifest."""
    return {"path": str(path), "copy": copy, "size": taken.size, "sha256": taken.digest.hex(), "changed": taken.changed}


def _take(folder: Path, entry: Mapping[str, Any]) -> tuple[Path, Taken]:
    """One copy, verified. Raises OSError, ValueError."""
    copy, size = str(entry["copy"]), int(entry["size"])
    if "/" in copy or copy in {"", ".", ".."}:
        raise ValueError(f'damaged: "{copy}" is no name of a copy')
    octets = _read(folder / copy, size)
    if len(octets) != size:
        raise ValueError(f"damaged: {copy} is cut off, {len(octets)} of {size} octets")
    digest = hashlib.sha256(octets).digest()
    if digest.hex() != entry["sha256"]:
        raise ValueError(f"damaged: {copy} is not what was kept, its digest differs")
    return Path(entry["path"]), Taken(octets, size, digest, int(entry["changed"]))


def _seal(content: Mapping[str, Any]) -> bytes:
    """The manifest in octets, with its own digest: a changed path is damage like any other."""
    text = json.dumps(content, sort_keys=True)
    return json.dumps({"form": FORM, "sha256": _digest_text(text), "content": content}, indent=1).encode()


def _unseal(octets: bytes) -> Any:
    """What was sealed. Raises ValueError for what is damaged, or made by another version."""
    try:
        manifest = json.loads(octets)
    except ValueError as error:
        raise ValueError(f"damaged: {MANIFEST} is cut off or altered") from error
    if manifest["form"] != FORM:
        raise ValueError(f"{MANIFEST} is of form {manifest['form']!r}, this version reads {FORM}")
    if _digest_text(json.dumps(manifest["content"], sort_keys=True)) != manifest["sha256"]:
        raise ValueError(f"damaged: {MANIFEST} is altered, its digest differs")
    return manifest["content"]


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, most: int) -> bytes:
    """At most *most* octets and one, by which the caller sees that there are more. No links, no pipes, no devices.

    It may be root who reads, in a folder of the daemon's user.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"damaged: {path.name} is not a file")
        return file.read(most + 1)


def _write(path: Path, octets: bytes) -> None:
    """A new file that only we may read (configurations hold passwords), and on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Have the names in *folder* on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(state: Path, ours: Path) -> None:
    """Remove what this daemon staged before, and what daemons that are gone have left."""
    for folder in state.glob(f".{FOLDER}.*.part"):
        try:
            if folder == ours or time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder)
        except OSError:
            if folder == ours:
                raise
