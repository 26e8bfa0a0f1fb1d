"""What the compiler's process hands to the daemon, and how it crosses the pipe.

Knows the two outcomes, and what goes the other way for a comparison. Knows nothing of processes, nor of how outcomes come
about. Pickle is right here and only here: both ends are this program, in this version, and the child is our own.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from ..config.model import Config
from ..errors import Complaint, GeodnsError
from ..health.targets import Plan
from .diff import Comparison


@dataclass(frozen=True, slots=True)
class Handover:
    """All that the daemon needs to serve a configuration."""

    config: Config  # without its zones: a hundred thousand names as objects would stall the daemon; they are in the block
    complaints: tuple[Complaint, ...]  # warnings
    plan: Plan  # what is probed, and every member
    zones: bytes  # the block
    maps: Path | bytes  # the image file, or the block itself where no folder could be had
    maps_digest: bytes  # of the sources: `Maps.digest` when it is read
    summary: str  # "1 zone, 1 service, 2 datacenters; image found"
    files: tuple[Path, ...]  # all that was read, absolute: the configuration, includes, networks_file, master files
    folders: tuple[Path, ...]  # where the patterns of `include` look: a new file there is a change
    databases: tuple[Path, ...]  # the GeoIP files, the packaged one too
    digest: str  # of the contents of `files`, hexadecimal: the same on all nodes that have the same
    packed: bytes  # `config` once more, as `Old` wants it: the daemon never spends time on packing it
    comparison: Comparison | None = None  # with `Old`, where that was given
    staged: Path | None = None  # copies of `files` for `last_good.keep`; None where they could not be made
    last_good: bool = False  # compiled from the copies, because the files themselves are broken

    @property
    def old(self) -> Old:
        """What the next compilation compares with, once this is served."""
        return Old(self.packed, self.maps)


@dataclass(frozen=True, slots=True)
class Old:
    """What is served, for the comparison with what is compiled."""

    packed: bytes  # its configuration, see `pack_config`
    maps: Path | bytes  # the image file or the block


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


def pack_old(old: Old) -> bytes:
    """*old* in octets, for `unpack_old` of the same program."""
    return pickle.dumps(old, protocol=5)


def unpack_old(octets: bytes) -> Old:
    """What `pack_old` packed, from our own parent."""
    found = pickle.loads(octets)  # noqa: S301 - see above
    assert isinstance(found, Old)
    return found


def pack_config(config: Config) -> bytes:
    """A configuration without zones in octets, for `unpack_config` of the same program."""
    return pickle.dumps(config, protocol=5)


def unpack_config(octets: bytes) -> Config:
    """What `pack_config` packed."""
    found = pickle.loads(octets)  # noqa: S301 - see above
    assert isinstance(found, Config)
    return found


def unpack(octets: bytes) -> Handover | Refusal:
    """What `pack` packed. Raises GeodnsError for octets that are cut off: the child died over them."""
    try:
        outcome = pickle.loads(octets)  # noqa: S301 - from our own child, see above
    except Exception as error:
        raise GeodnsError(f"the compiler handed over {len(octets)} octets that are not whole: {error!r}") from error
    if not isinstance(outcome, (Handover, Refusal)):
        raise GeodnsError(f"the compiler handed over something else: {type(outcome).__name__}")
    return outcome
