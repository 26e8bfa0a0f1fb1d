"""The file probe: what something else found out and wrote into a JSON file.

Knows the form of the file and when it is read again. Knows nothing of who writes it.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ...config.model_checks import FileCheck
from ..state import Verdict
from .finding import Finding, Unable, one_line, unsure

MOST_OCTETS = 1024 * 1024
MOST_WEIGHT = 65535
FORM = '"up", "down", a weight, or {"state": "up", "weight": 3}'

Signature = tuple[int, int, int, int]  # modified, changed, size, inode


@dataclass(frozen=True, slots=True)
class Kept:
    """One state of a file."""

    signature: Signature
    entries: dict[str, Any]
    trouble: str  # why nothing could be read; empty where it could


class Files:
    """All files that probes look at, each read once a change."""

    def __init__(self) -> None:
        self._kept: dict[Path, Kept] = {}

    def probe(self, member: str, check: FileCheck, now: float) -> Finding:
        """What the file of *check* says of *member*; *now* in seconds since 1970. Raises Unable: a file that says nothing.

        Looking at a file takes microseconds while it does not change; one of the largest size is read in some 20 ms.
        """
        kept = self._find(check.path)
        age = now - kept.signature[0] / 1e9
        if check.max_age is not None and age > check.max_age:
            raise Unable(f"{check.path} is {age:.0f} s old, at most {check.max_age:g} s are allowed")
        if kept.trouble:
            raise Unable(f"{check.path} {kept.trouble}")
        name = name_member(member)
        if name not in kept.entries:
            raise Unable(f"{check.path} says nothing of {member}")
        return judge(kept.entries[name], member, check.path)

    def _find(self, path: Path) -> Kept:
        """The file as it is now; what is kept of it where it has not changed."""
        try:
            signature = _sign(path.stat())
            kept = self._kept.get(path)
            if kept is None or kept.signature != signature:
                kept = self._kept[path] = _read(path)
        except OSError as error:
            self._kept.pop(path, None)
            raise Unable(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
        return kept


def _sign(found: os.stat_result) -> Signature:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: Path) -> Kept:
    """The file at *path*, signed as what was opened: whoever renames another there in between is noticed next time."""
    # Without O_NONBLOCK a FIFO of this name would hold us until somebody writes.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            return Kept(_sign(found), {}, "is not a regular file")
        with open(opened, "rb", closefd=False) as stream:
            octets = stream.read(MOST_OCTETS + 1)
    finally:
        os.close(opened)
    if len(octets) > MOST_OCTETS:
        return Kept(_sign(found), {}, f"is larger than {MOST_OCTETS // 1024 // 1024} MiB")
    try:
        entries = json.loads(octets)
    except (ValueError, RecursionError) as error:
        return Kept(_sign(found), {}, f"is not JSON: {one_line(str(error), 80)}")
    if not isinstance(entries, dict):
        return Kept(_sign(found), {}, "must hold an object: member to state")
    return Kept(_sign(found), {name_member(name): entry for name, entry in entries.items()}, "")


def name_member(text: str) -> str:
    """One spelling for each member: addresses in their shortest form, names in lower case with their final dot."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text.lower().removesuffix(".") + "."


def judge(entry: object, member: str, path: Path) -> Finding:
    """What one *entry* says."""
    state, weight = entry, None
    if isinstance(entry, dict):
        if entry.keys() - {"state", "weight"}:
            return unsure(f"{path}: {member} must be {FORM}")
        state, weight = entry.get("state", "up"), entry.get("weight")
    elif isinstance(entry, int) and not isinstance(entry, bool):
        state, weight = "up", entry
    if state not in ("up", "down"):
        return unsure(f"{path}: {member} must be {FORM}")
    if weight is not None and (not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= MOST_WEIGHT):
        return unsure(f"{path}: weight of {member} must be 0..{MOST_WEIGHT}")
    text = f"{path.name} says {state}" + (f", weight {weight}" if weight is not None else "")
    return Finding(Verdict.UP if state == "up" else Verdict.DOWN, text, weight=weight)
