"""What a restart must know: `states.json` and `overrides.json` in the state directory.

Knows their form, and how a file is replaced so that there is a whole one at every moment. Knows nothing of what states and
overrides mean. All of it blocks on the disk: it is for a thread, and leaves the interpreter to others between portions.
Times in the files are wall clock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from .overrides import KINDS, Override, parse_target
from .state import Saved, State, Verdict

STATES, OVERRIDES = "states.json", "overrides.json"
FORM = 1  # of both files
KEPT = 3  # files set aside, of each name: the newest
LARGEST = 64 << 20  # octets: ten times what 100,000 targets need
AHEAD = 5.0  # seconds by which a saved time may lie in the future without a word: clocks are adjusted
_PORTION = 50  # entries put into text between two writes: half a millisecond
_FIELDS = ("verdict", "streak", "since", "probed", "text", "failure", "seconds", "successes", "failures", "weight")
_writing = threading.Lock()  # two threads that save the same file would write into one another's

_T = TypeVar("_T")


class _Unsound(ValueError):
    """What was read is not what we write; the text says why."""


def load_states(folder: Path, wall: float) -> tuple[tuple[Saved, ...], list[str]]:
    """The states that were saved, and warnings; nothing where there is no file. A file that is unsound is set aside."""
    return _load(folder / STATES, "states", _read_state, wall)


def load_overrides(folder: Path, wall: float) -> tuple[tuple[Override, ...], list[str]]:
    """The overrides that were saved, those too whose time is over; otherwise as `load_states`."""
    return _load(folder / OVERRIDES, "overrides", _read_override, wall)


def save_states(folder: Path, states: Iterable[Saved], wall: float) -> None:
    """Replace what is saved by *states*. Raises OSError; then the file is the one before, whole."""
    _save(folder, STATES, "states", ([one.key, one.subject, _write_state(one.state)] for one in states), wall)


def save_overrides(folder: Path, overrides: Iterable[Override], wall: float) -> None:
    """Replace what is saved by *overrides*; otherwise as `save_states`."""
    names = Override.__slots__
    _save(folder, OVERRIDES, "overrides", ({name: getattr(one, name) for name in names} for one in overrides), wall)


def _save(folder: Path, name: str, kind: str, entries: Iterable[Any], wall: float) -> None:
    """Write beside, have it on the disk, rename, have the name on the disk. One line per entry, for people with grep."""
    beside = folder / f".{name}.part"
    with _writing:
        try:
            with open(beside, "wb", buffering=0, opener=_open_private) as file:
                for portion in _write_lines(kind, entries, wall):
                    _write_all(file.fileno(), portion)
                os.fsync(file.fileno())
            beside.replace(folder / name)
        except BaseException as error:
            beside.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(folder / name)  # write(2) knows no name, and a full disk has to be found
            raise
        _sync_folder(folder)


def _write_lines(kind: str, entries: Iterable[Any], wall: float) -> Iterator[bytes]:
    head = json.dumps({"form": FORM, "saved": wall})
    yield f'{head[:-1]}, "{kind}": ['.encode()
    rest, separator = iter(entries), "\n"
    while portion := [json.dumps(entry) for entry in islice(rest, _PORTION)]:
        yield (separator + ",\n".join(portion)).encode()
        separator = ",\n"
    yield b"\n]}\n"


def _open_private(path: str, _: int) -> int:
    """Owners and reasons are nobody else's business. What a crash left there is written over, a link is not followed."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, octets: bytes) -> None:
    """All of *octets*. While the kernel writes, other threads run: a long file never holds up the one that answers."""
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(
    path: Path, kind: str, read: Callable[[Any, float], tuple[_T, bool]], wall: float
) -> tuple[tuple[_T, ...], list[str]]:
    """What is sound in the file at *path*. If anything is not, the file is set aside whole, so that nothing is lost."""
    try:
        entries = _read_entries(path, kind)
    except FileNotFoundError:
        return (), []
    except OSError as error:
        return (), [_set_aside(path, f"cannot be read: {error.strerror}", wall)]
    except _Unsound as error:
        return (), [_set_aside(path, str(error), wall)]
    found, ahead, wrong = list[_T](), 0, list[str]()
    for number, entry in enumerate(entries, 1):
        try:
            one, early = read(entry, wall)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            wrong.append(f"entry {number}: {str(error) or type(error).__name__}")
        else:
            found.append(one)
            ahead += early
    said = [_set_aside(path, f"{len(wrong)} of {len(entries)} {kind} are unsound ({wrong[0]})", wall)] if wrong else []
    if ahead:
        said.append(f"{path}: {ahead} of {len(entries)} {kind} have times in the future: they count as of now")
    return tuple(found), said


def _read_entries(path: Path, kind: str) -> Sequence[Any]:
    with path.open("rb") as file:
        octets = file.read(LARGEST + 1)
    if len(octets) > LARGEST:
        raise _Unsound(f"is larger than {LARGEST >> 20} MiB")
    try:
        whole = json.loads(octets)
    except (ValueError, RecursionError):
        raise _Unsound("is cut off or damaged: it is no JSON") from None
    if not isinstance(whole, dict) or not isinstance(whole.get(kind), list):
        raise _Unsound(f"is something else: it has no {kind}")
    if whole.get("form") != FORM:
        raise _Unsound(f"has form {whole.get('form')!r}; this version reads form {FORM}")
    entries: list[Any] = whole[kind]
    return entries


def _set_aside(path: Path, why: str, wall: float) -> str:
    """Give the file at *path* another name, keep the newest few of such; what to say of it."""
    stamp = f"{datetime.fromtimestamp(max(0.0, min(wall, 2.5e11)), UTC):%Y%m%dT%H%M%S}"
    names = [f"{path.name}.broken-{stamp}", *(f"{path.name}.broken-{stamp}-{number}" for number in range(2, 100))]
    aside = next((path.with_name(name) for name in names if not os.path.lexists(path.with_name(name))), path)
    try:
        path.rename(aside)
        before = [other for other in path.parent.glob(f"{path.name}.broken-*") if other != aside]
        before.sort(key=lambda other: (other.lstat().st_ctime_ns, other.name), reverse=True)
        for other in before[KEPT - 1 :]:
            other.unlink()
    except OSError as error:
        return f"{path}: {why}; it cannot be set aside: {error.strerror}"
    return f"{path}: {why}; set aside as {aside.name}, nothing in it is lost"


def _write_state(state: State) -> list[Any]:
    return [str(state.verdict), *(getattr(state, name) for name in _FIELDS[1:])]


def _read_state(entry: Any, wall: float) -> tuple[Saved, bool]:
    """A saved state, and whether it claims to be of the future: then it is as if its last result came now."""
    key, subject, values = (*_texts(entry[:2]), entry[2])
    given = dict(zip(_FIELDS, values, strict=True))
    since, probed = _number(given["since"]), None if given["probed"] is None else _number(given["probed"])
    early = max(since, probed or 0.0) > wall + AHEAD
    text, failure = _texts((given["text"], given["failure"]))
    state = State(
        Verdict(given["verdict"]),
        _count(given["streak"]),
        min(since, wall),
        None if probed is None else min(probed, wall),
        text,
        failure,
        _number(given["seconds"]),
        _count(given["successes"]),
        _count(given["failures"]),
        None if given["weight"] is None else _count(given["weight"], 65535),
        restored=True,
    )
    return Saved(key, subject, state), early


def _read_override(entry: Any, wall: float) -> tuple[Override, bool]:
    """A saved override, and whether it claims to have begun in the future: then it begins now, and lasts as long."""
    target, kind, owner, reason = _texts([entry[name] for name in ("target", "kind", "owner", "reason")])
    parse_target(target)
    found = next((known for known in KINDS if known == kind), None)
    if found is None:
        raise ValueError(f'"{kind}" is no kind of override')
    since = _number(entry["since"])
    until = None if entry["until"] is None else _number(entry["until"])
    late = max(0.0, since - wall)
    return Override(target, found, owner, reason, since - late, None if until is None else until - late), late > AHEAD


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    found = tuple(values)
    if not all(isinstance(value, str) for value in found):
        raise ValueError("a text is missing")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _count(value: Any, most: int = 1 << 62) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no count")
    return value
