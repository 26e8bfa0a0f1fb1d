"""From a configuration file to the blocks of a snapshot: the order of work, and which of it the image cache spares.

Knows everybody in `compiler`, and that all complaints come before any database is opened. Knows nothing of processes:
`python -m geodns.compiler` runs this in a child for the daemon, `check` and `explain` in their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import has_magic
from itertools import takewhile
from pathlib import Path

from ..config.check import check_config
from ..config.files import Files, digest_files
from ..config.load import read_config
from ..config.loaded import Loaded, is_wrong, sort_complaints
from ..config.model import Config
from ..errors import Complaint, ConfigError, ImageError, Place, Severity
from ..geo.place import Sources, find_sources
from ..geo.status import read_status
from ..health.state import Health
from ..health.targets import build_targets
from ..image_maps import read_countries, read_maps
from ..image_zones import read_zones
from ..slices import at_once
from ..snapshot import Snapshot
from .choices import build_choices
from .diff import Comparison, Side, compare_maps
from .handover import Handover, Old, pack_config, unpack_config
from .images import image_path, read_image, write_image
from .maps import build_maps, maps_digest
from .naming import Naming, name_parts
from .shares import nearest_shares
from .zones import build_zones

OLD = 90  # days after which data about addresses are worth a warning
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Built:
    """A configuration, compiled: everything that a snapshot is assembled from, but health."""

    loaded: Loaded
    sources: Sources
    complaints: tuple[Complaint, ...]  # warnings; an error would have been raised
    naming: Naming
    digest: bytes  # of all that the maps were made from
    maps: bytes  # the block
    zones: bytes  # the block
    image: Path | None  # the file that holds `maps`; None where there is no folder for it
    found: bool  # the image was there already

    @property
    def counts(self) -> str:
        """``1 zone, 1 service, 2 datacenters``."""
        config = self.loaded.config
        parts = (("zone", config.zones), ("service", config.services), ("datacenter", config.datacenters))
        return ", ".join(f"{len(named)} {word}{'s'[: len(named) != 1]}" for word, named in parts)

    @property
    def summary(self) -> str:
        """`counts`, and which datacenter is nearest for how much of the address space; takes a moment to work out.

        Where services differ, it is told of the one with the most datacenters, and named.
        """
        config = self.loaded.config
        maps, countries = read_maps(self.maps, "maps block"), read_countries(self.maps, "maps block")
        shares = nearest_shares(maps, countries, config, self.naming)
        if not any(shares.values()):
            return f"{self.counts}; the databases place no IPv4 address"
        widest = max(shares, key=lambda name: (bool(shares[name]), len(config.services[name].pools)))
        first = max(shares[widest], key=shares[widest].__getitem__)
        whose = f" ({widest})" if any(shares[name] != shares[widest] for name in shares) else ""
        return f"{self.counts}; {first} is nearest for {shares[widest][first]:.0%} of IPv4 addresses{whose}".replace(
            "%", " %"
        )


def build(
    path: Path,
    images: Path | None,
    last_serials: Mapping[str, int] | None = None,
    now: float | None = None,
    files: Files | None = None,
) -> Built:
    """Compile the configuration at *path*; maps are looked for in the folder *images*, and kept there.

    *last_serials*: by zone, the serial served last. *now*: seconds since 1970, by which data are old (default: the
    clock). *files*: what the configuration is read from (default: the disk). Raises ConfigError with all complaints of all
    parts, DatabaseError for a database that cannot be used.
    """
    loaded = read_config(path, files)
    complaints = [*loaded.complaints, *check_config(loaded)]
    naming = None if is_wrong(complaints) else name_parts(loaded.config)
    zones, more = build_zones(loaded, naming, last_serials)
    complaints += more
    if naming is None or is_wrong(complaints):
        raise ConfigError(sort_complaints(complaints, loaded.files))
    sources = find_sources(loaded.config.geoip)
    complaints += _find_old(loaded, sources, time.time() if now is None else now)
    digest = maps_digest(loaded.config, naming, sources)
    maps, trouble = _find_image(images, digest)
    found = bool(maps)
    if not found:
        maps = build_maps(loaded.config, naming, sources)
        trouble += _keep_image(images, digest, maps)
    kept = None if images is None else image_path(images, digest)
    everything = (*sort_complaints(complaints, loaded.files), *trouble)
    return Built(loaded, sources, everything, naming, digest, maps, zones, kept if kept and kept.exists() else None, found)


def assemble(built: Built, health: Health | None = None) -> Snapshot:
    """The snapshot of *built* under *health* (default: all up), in one go; the daemon does it in slices."""
    maps = read_maps(built.maps, str(built.image or "maps block"))
    zones = at_once(read_zones(built.zones, "zones block"))
    return Snapshot(maps, zones, build_choices(zones, health or {}))


def hand_over(built: Built) -> Handover:
    """What the daemon needs of *built*."""
    config = built.loaded.config.model_copy(update={"zones": {}})
    how = "maps from the image" if built.found else "maps compiled"
    taken, sources = built.loaded.reader.taken, built.sources
    return Handover(
        config=config,
        complaints=built.complaints,
        plan=build_targets(config),
        zones=built.zones,
        maps=built.image or built.maps,
        maps_digest=built.digest,
        summary=f"{built.counts}; {how}",
        files=tuple(taken),
        folders=_find_folders(built.loaded.reader),
        databases=(*sources.places, *([sources.asn] if sources.asn else [])),
        digest=digest_files(taken.values()),
        packed=pack_config(config),
    )


def compare(old: Old, built: Built) -> Comparison:
    """What would move if *built* took the place of *old*. Raises ImageError where the maps of *old* are gone."""
    config, maps = unpack_config(old.packed), old.maps
    if isinstance(maps, Path):
        try:
            octets = maps.read_bytes()
        except OSError as error:
            raise ImageError(f"{maps}: {error.strerror}") from error
    else:
        octets = maps
    return compare_maps(_make_side(config, octets), _make_side(built.loaded.config, built.maps))


def _make_side(config: Config, octets: bytes) -> Side:
    name = "maps block"
    return Side(config, name_parts(config), read_maps(octets, name), read_countries(octets, name))


def _find_folders(reader: Files) -> tuple[Path, ...]:
    """Where a file that comes or goes changes what an `include` finds: the folders before the first wildcard."""
    found: dict[Path, None] = {}
    for folder, pattern in reader.matched:
        plain = takewhile(lambda part: not has_magic(part), Path(pattern).parts)
        found[folder.joinpath(*plain)] = None
    return tuple(found)


def _find_image(images: Path | None, digest: bytes) -> tuple[bytes, list[Complaint]]:
    """The kept block made from sources with *digest*, verified whole; no octets where there is none that is sound."""
    octets = None if images is None else read_image(images, digest)
    if images is None or octets is None:
        return b"", []
    path = image_path(images, digest)
    try:
        if read_maps(octets, str(path)).digest != digest:
            raise ImageError(f"{path}: made from other sources than its name says")
    except ImageError as error:
        text = f"{str(error).removeprefix(f'{path}: ')}; compiled again"
        return b"", [Complaint(Severity.WARNING, Place(str(path)), "", text)]
    return octets, []


def _keep_image(images: Path | None, digest: bytes, maps: bytes) -> list[Complaint]:
    if images is None:
        return []
    try:
        write_image(images, digest, maps)
    except OSError as error:
        text = f"the compiled maps cannot be kept: {error.strerror}; the next start compiles again"
        return [Complaint(Severity.WARNING, Place(str(images)), "", text)]
    return []


def _find_old(loaded: Loaded, sources: Sources, now: float) -> Iterator[Complaint]:
    """A warning for each database that is older than `OLD` days. Raises DatabaseError for what is no database."""
    keys: list[tuple[str | int, ...]] = [("geoip", "database", number) for number in range(len(sources.places))]
    for path, key in zip(
        (*sources.places, *([sources.asn] if sources.asn else [])), (*keys, ("geoip", "asn")), strict=False
    ):
        built = read_status(path).built
        days = int((now - built) / DAY)
        if days > OLD:
            day = datetime.fromtimestamp(built, UTC).date()
            yield loaded.places.warning(key, f"{path.name}: the data are of {day}, {days} days old")
