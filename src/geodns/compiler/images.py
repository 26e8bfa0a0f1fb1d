"""Where compiled maps are kept: found by digest, written so that nobody ever reads half a file.

Knows folders, names and ages of image files, and the state directory beside which they lie. Knows nothing of what an
image holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..config.model import Server
from ..config.model_server import USUAL_STATE
from ..errors import StartError

KEPT = 2  # images: the one in use and the one before, so that going back costs nothing
ABANDONED = 3600.0  # seconds after which a half-written file belongs to nobody


def find_state(server: Server, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The state directory, made if need be, and a warning (empty: none).

    The order is: what was written down, `$STATE_DIRECTORY` (systemd sets it), /var/lib/geodns. Raises StartError when
    the one written down cannot be had; the others are only missed.
    """
    folder = name_state(server, environ)
    if server.state is not None:
        if problem := _claim(folder, make=True):
            raise StartError(f"server.state: {folder}: {problem}")
        return folder, ""
    if problem := _claim(folder, make=bool(environ.get("STATE_DIRECTORY"))):
        return None, f"no state directory: {folder}: {problem}; nothing is remembered over a restart (set server.state)"
    return folder, ""


def name_state(server: Server, environ: Mapping[str, str]) -> Path:
    """Where the state directory is, or would be; nothing is looked at."""
    return server.state or Path(environ.get("STATE_DIRECTORY", "").split(":")[0] or USUAL_STATE)


def find_images(state: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The folder of images: inside *state*, else in the user's cache; None where neither can be written."""
    cache = environ.get("XDG_CACHE_HOME", "")
    home = environ.get("HOME", "")
    choices = [
        *([state / "images"] if state else []),
        *([Path(cache) / "geodns"] if cache.startswith("/") else [Path(home) / ".cache" / "geodns"] if home else []),
    ]
    return next((folder for folder in choices if not _claim(folder, make=True)), None)


def _claim(folder: Path, *, make: bool) -> str:
    """Why *folder* cannot be written, or nothing when it can."""
    try:
        if make:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not folder.is_dir():
            return "there is no such directory"
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"user {os.geteuid()} may not write there"


def image_path(folder: Path, digest: bytes) -> Path:
    """The file for maps made from sources with *digest*."""
    return folder / f"maps-{digest.hex()}.img"


def read_image(folder: Path, digest: bytes) -> bytes | None:
    """The image kept for *digest*, in one read, or None. A use makes it young again, so that it is kept."""
    path = image_path(folder, digest)
    try:
        octets = path.read_bytes()
    except OSError:
        return None
    try:
        os.utime(path)
    except OSError:
        return octets  # another user's: it is as old as it is
    return octets


def write_image(folder: Path, digest: bytes, octets: bytes) -> Path:
    """Keep *octets* as the image for *digest*: written beside, on the disk before it has its name, mode 0444.

    Two that write the same image at once each rename a whole file. Raises OSError (no room, no permission).
    """
    path = image_path(folder, digest)
    descriptor, beside = tempfile.mkstemp(prefix=".maps-", suffix=".part", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        Path(beside).rename(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    _remove_old(folder, path)
    return path


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_old(folder: Path, newest: Path) -> None:
    """Keep the newest images, *newest* always. Another command may do the same at this moment: what is gone is gone."""
    ages = {path: age for path in folder.glob("maps-*.img") if path != newest and (age := _written(path))}
    old = sorted(ages, key=ages.__getitem__, reverse=True)[KEPT - 1 :]
    here = _written(newest)
    old += [path for path in folder.glob(".maps-*.part") if _written(path) < here - ABANDONED]
    for path in old:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue  # another user's


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
