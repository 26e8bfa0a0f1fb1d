"""What the compiler's process does for one load: build, compare with what is served, copy for the last good configuration.

Knows the order of these, and which of them may fail without spoiling the load. Knows nothing of pipes and processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..config.files import Disk
from ..errors import Complaint, ConfigError, ImageError, Place, Severity
from . import last_good
from .build import Built, build, compare, hand_over
from .diff import Comparison
from .handover import Handover, Old
from .serials import read_serials


def compile_files(
    path: Path, state: Path | None, images: Path | None, last_serials: Mapping[str, int], old: Old | None
) -> Handover:
    """Compile the files as they are; compare with *old*; copy in *state* what was read. Raises as `build` does.

    A comparison or copies that cannot be made are warnings: what was compiled can be served all the same.
    """
    disk = Disk()
    built = build(path, images, last_serials, files=disk)
    comparison, trouble = _compare(old, built)
    staged, more = _stage(disk, path, state)
    found = hand_over(built)
    complaints = (*found.complaints, *trouble, *more)
    return replace(found, complaints=complaints, comparison=comparison, staged=staged)


def compile_last_good(path: Path, state: Path | None, images: Path | None) -> Handover:
    """Compile what was kept of the configuration at *path*. Raises ConfigError where that cannot be used either."""
    folder = None if state is None else last_good.find(state)
    if folder is None:
        text = (
            f"there is no last good configuration in {state}"
            if state
            else "no state directory, so no last good configuration"
        )
        raise ConfigError((Complaint(Severity.ERROR, Place(str(path)), "", text),))
    kept = last_good.open_kept(folder, path)
    found = hand_over(build(kept.main, images, read_serials(state), files=kept))
    text = f"the last good configuration, of {kept.when}, is served until {path} is mended and reloaded"
    notice = Complaint(Severity.WARNING, Place(str(folder)), "", text)
    return replace(found, complaints=(notice, *found.complaints), last_good=True)


def _compare(old: Old | None, built: Built) -> tuple[Comparison | None, list[Complaint]]:
    if old is None:
        return None, []
    try:
        return compare(old, built), []
    except ImageError as error:
        text = f"what is served cannot be compared with: {error}"
        return None, [Complaint(Severity.WARNING, Place(str(built.loaded.files[0])), "", text)]


def _stage(disk: Disk, path: Path, state: Path | None) -> tuple[Path | None, list[Complaint]]:
    if state is None:
        return None, []
    try:
        return last_good.stage(disk, path, state, os.getppid()), []
    except OSError as error:
        text = f"this configuration cannot be kept as the last good one: {error.strerror}; the one before stays"
        return None, [Complaint(Severity.WARNING, Place(str(state / last_good.FOLDER)), "", text)]
