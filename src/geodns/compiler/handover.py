"""What the compiler's process hands to the daemon, and how it crosses the pipe.

Knows the two outcomes. Knows nothing of processes, nor of how they come about. Pickle is right here and only here:
both ends are this program, in this version, and the child is our own.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from ..config.model import Config
from ..errors import Complaint, GeodnsError


@dataclass(frozen=True, slots=True)
class Handover:
    """All that the daemon needs to serve a configuration."""

    config: Config  # without its zones: a hundred thousand names as objects would stall the daemon; they are in the block
    complaints: tuple[Complaint, ...]  # warnings
    zones: bytes  # the block
    maps: Path | bytes  # the image file, or the block itself where no folder could be had
    maps_digest: bytes  # of the sources: `Maps.digest` when it is read
    summary: str  # "1 zone, 1 service, 2 datacenters; image found"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is nothing to serve: lines for the log, of which *problems* are an operator's to mend."""

    lines: tuple[str, ...]
    problems: int


def refuse(error: GeodnsError) -> Refusal:
    """The refusal that *error* means: a ConfigError has one line per complaint, the others have one."""
    lines = tuple(str(error).splitlines())
    return Refusal(lines, sum(": warning: " not in line for line in lines))


def pack(outcome: Handover | Refusal) -> bytes:
    """*outcome* in octets, for `unpack` of the same program."""
    return pickle.dumps(outcome, protocol=5)


def unpack(octets: bytes) -> Handover | Refusal:
    """What `pack` packed. Raises GeodnsError for octets that are cut off: the child died over them."""
    try:
        outcome = pickle.loads(octets)  # noqa: S301 - from our own child, see above
    except Exception as error:
        raise GeodnsError(f"the compiler handed over {len(octets)} octets that are not whole: {error!r}") from error
    if not isinstance(outcome, (Handover, Refusal)):
        raise GeodnsError(f"the compiler handed over something else: {type(outcome).__name__}")
    return outcome
