"""What reading a configuration gives: the model, where everything stands, and what there is to say about it.

Knows how complaints are told apart and put in order. Knows nothing of how files are read or what keys mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Complaint, Severity
from .files import Disk, Files
from .model import Config
from .places import Places, Step


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and what there is to say about it.

    `files` are all files that were read, the main one first. `broken` are the written parts that `config` lacks,
    because they are wrong (the complaints say how); empty in what `load_config` returns. `reader` is what they were read
    from; master files are to be read from it too.
    """

    config: Config
    complaints: tuple[Complaint, ...]
    places: Places
    files: tuple[Path, ...]
    broken: frozenset[tuple[Step, ...]] = frozenset()
    reader: Files = field(default_factory=Disk)


def is_wrong(complaints: tuple[Complaint, ...] | list[Complaint]) -> bool:
    """Whether any of *complaints* is an error."""
    return any(complaint.severity is Severity.ERROR for complaint in complaints)


def sort_complaints(complaints: Any, files: Any) -> tuple[Complaint, ...]:
    """In the order of the files and of what stands in them; each once."""
    order = {str(file): number for number, file in enumerate(files)}
    unique = dict.fromkeys(complaints)
    return tuple(
        sorted(unique, key=lambda c: (order.get(c.place.file, len(order)), c.place.file, c.place.line, c.place.column))
    )
