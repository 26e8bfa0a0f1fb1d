"""What a database and the corrections say of an address: its place.

Knows both schemas of records (MaxMind's nested one and the flat one), how corrections lie over them, and what stands in
for missing coordinates. Knows nothing of search trees, datacenters' distances or orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb

from ..config.model import Address, Correction, Geoip, Network
from ..errors import DatabaseError
from . import iso
from .builtin import database_path
from .networks import Corrections
from .records import SCALAR, Wanted, want
from .special import find_special


class Facts(NamedTuple):
    """What decides: the fields that rules and distances look at."""

    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None  # "US-CA"
    latitude: float | None = None  # both or none
    longitude: float | None = None


NOWHERE = Facts()
CODE = want(iso_code=SCALAR, code=SCALAR)
FACTS_WANTED: Wanted = want(
    continent=CODE,
    country=CODE,
    subdivisions=Wanted(first=CODE),
    location=want(latitude=SCALAR, longitude=SCALAR),
    continent_code=SCALAR,
    country_code=SCALAR,
    state1=SCALAR,
    latitude=SCALAR,
    longitude=SCALAR,
)
ASN_WANTED: Wanted = want(autonomous_system_number=SCALAR, asn=SCALAR)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is, as far as anybody says. Accuracy radius (km) and registered country are shown, not used."""

    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    asn: int | None = None
    accuracy_radius: int | None = None
    registered_country: str | None = None
    centred: bool = False  # the coordinates are the centre of the subdivision or country, for want of better

    @property
    def known(self) -> bool:
        """Does anybody know where this is? Otherwise the client takes `default`."""
        return self.country is not None or self.latitude is not None


@dataclass(frozen=True, slots=True)
class Located:
    """A place and who said so: "GeoLite2-City.mmdb", "geoip.networks" or both, and the network they said it of."""

    place: Place
    source: str
    network: Network
    special: str | None = None  # name of the special-purpose block, where databases are not asked


@dataclass(frozen=True, slots=True)
class Sources:
    """The database files that a configuration names; the first that knows an address wins whole."""

    places: tuple[Path, ...]
    asn: Path | None = None


def find_sources(geoip: Geoip) -> Sources:
    """The files behind `geoip.database` and `geoip.asn`. Opens nothing."""
    return Sources(tuple(database_path() if p == "builtin" else p for p in geoip.database), geoip.asn)


def read_facts(record: Any) -> Facts:
    """What *record*, of either schema, says of continent, country, subdivision and coordinates; NOWHERE for None.

    Nothing is made up: a coordinate without the other counts as none, and so does (0, 0), the sea off Ghana, which
    databases write when they do not know.
    """
    if not isinstance(record, dict):
        return NOWHERE
    location = record.get("location")
    nested = location if isinstance(location, dict) else record
    latitude, longitude = read_coordinates(nested.get("latitude"), nested.get("longitude"))
    country = _code(record.get("country")) or _text(record.get("country_code"))
    country = None if country == "ZZ" else country  # unknown, by CLDR's convention
    continent = _code(record.get("continent")) or _text(record.get("continent_code"))
    return Facts(continent, country, _subdivision(record, country), latitude, longitude)


def read_coordinates(latitude: Any, longitude: Any) -> tuple[float, float] | tuple[None, None]:
    """Both as numbers inside their bounds, or neither."""
    if type(latitude) not in (float, int) or type(longitude) not in (float, int):
        return None, None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180) or latitude == longitude == 0:
        return None, None
    return float(latitude), float(longitude)


def read_asn(record: Any) -> int | None:
    """The AS number in *record*; also the spelling `"asn": "AS64500"`."""
    if not isinstance(record, dict):
        return None
    found = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(found, str) and found[:2].upper() == "AS" and found[2:].isdecimal():
        return int(found[2:])
    return found if type(found) is int else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: Any) -> str | None:
    """The code in `{"iso_code": "NO", ...}` or `{"code": "EU", ...}`."""
    if isinstance(value, dict):
        return _text(value.get("iso_code")) or _text(value.get("code"))
    return None


def _subdivision(record: Mapping[str, Any], country: str | None) -> str | None:
    parts = record.get("subdivisions")
    if isinstance(parts, list | tuple) and parts:
        code = _code(parts[0])  # the largest comes first
        return f"{country}-{code}" if code and country else None
    name = _text(record.get("state1"))
    return _subdivision_named(country, name) if name and country else None


@cache
def _subdivision_codes() -> dict[tuple[str, str], str]:
    """Code by country and name, the code itself counting as a name; names that stand twice in a country are left out."""
    codes: dict[tuple[str, str], str] = {}
    twice = set()
    for code, name in iso.subdivision_names().items():
        key = (code[:2], name.casefold())
        if key in codes:
            twice.add(key)
        codes[key] = code
    for key in twice:
        del codes[key]
    return codes | {(code[:2], code.casefold()): code for code in iso.subdivisions()}


@lru_cache(maxsize=8192)
def _subdivision_named(country: str, name: str) -> str | None:
    """ISO 3166-2 code of a subdivision that a flat file gives by name; None where the lists spell it otherwise."""
    return _subdivision_codes().get((country, name.casefold()))


def complete(facts: Facts) -> tuple[Facts, bool]:
    """*facts* with continent and coordinates filled in from the country; and whether the coordinates were."""
    if facts.country is None:
        return facts, False
    if facts.continent is None:
        facts = facts._replace(continent=iso.continent_of(facts.country))
    if facts.latitude is not None:
        return facts, False
    centre = iso.centre(facts.country, facts.subdivision)
    return (facts, False) if centre is None else (facts._replace(latitude=centre[0], longitude=centre[1]), True)


def correct(facts: Facts, correction: Correction, datacenters: Mapping[str, tuple[float, float]]) -> Facts:
    """*facts* with *correction* laid over them: a corrected field clears the finer ones that are not corrected too.

    Coarse to fine: continent, country, subdivision, city, coordinates; what is coarser follows from a corrected code.
    `datacenter` sets the coordinates to those in *datacenters*, and nothing else.
    """
    continent, country, subdivision = correction.continent, correction.country, correction.subdivision
    if subdivision is not None:
        country = country or subdivision[:2]
    if country is not None:
        continent = continent or iso.continent_of(country)
    if country is not None or continent is not None:
        facts = Facts(continent, country, subdivision)
    elif correction.city is not None:
        facts = facts._replace(latitude=None, longitude=None)
    there = datacenters.get(correction.datacenter) if correction.datacenter is not None else correction.coordinates
    return facts if there is None else facts._replace(latitude=there[0], longitude=there[1])


def place_of(record: Any, asn: int | None = None) -> Place:
    """All that *record* says, without corrections and centres."""
    facts = read_facts(record)
    record = record if isinstance(record, dict) else {}
    city = record.get("city")
    names = city.get("names") if isinstance(city, dict) else None
    name = _text(names.get("en")) if isinstance(names, dict) else _text(city)
    location = record.get("location")
    radius = location.get("accuracy_radius") if isinstance(location, dict) else None
    registered = _code(record.get("registered_country"))
    return Place(*facts[:3], name, *facts[3:], asn, radius if type(radius) is int else None, registered)


def locate_place(
    address: Address, sources: Sources, networks: Corrections, datacenters: Mapping[str, tuple[float, float]]
) -> Located:
    """Where *address* is, by corrections and databases, as the compiler sees it; one address at a time.

    Of IPv6 the upper 64 bits count. An address that embeds an IPv4 one must be unwrapped before. In special-purpose
    blocks the databases are not asked. Raises DatabaseError.
    """
    if address.version == 6:
        address = type(address)(int(address) >> 64 << 64)
    block = find_special(address)
    record, length, files = None, 0, []
    for path in () if block else sources.places:
        record, length = _look_up(path, address)
        if read_facts(record) != NOWHERE:
            files.append(path.name)
            break
    network: Network = block.network if block else ip_network((address, length), strict=False)
    asn, asn_length = _look_up(sources.asn, address) if sources.asn and not block else (None, 0)
    place = place_of(record if files else None, read_asn(asn))
    if place.asn is not None and sources.asn:
        files.append(sources.asn.name)
        network = ip_network((address, max(network.prefixlen, asn_length)), strict=False)
    found = networks.find(address)
    if found is not None:
        network, correction = found if found[0].prefixlen >= network.prefixlen else (network, found[1])
        place = _corrected(place, correction, datacenters)
        files.insert(0, "geoip.networks")
    return Located(
        _completed(place), " over ".join(files) if found else ", ".join(files), network, block.name if block else None
    )


def _corrected(place: Place, correction: Correction, datacenters: Mapping[str, tuple[float, float]]) -> Place:
    before = Facts(place.continent, place.country, place.subdivision, place.latitude, place.longitude)
    after = correct(before, correction, datacenters)
    area = (correction.continent, correction.country, correction.subdivision)
    city = correction.city or (place.city if area == (None, None, None) else None)
    return replace(
        place,
        continent=after.continent,
        country=after.country,
        subdivision=after.subdivision,
        city=city,
        latitude=after.latitude,
        longitude=after.longitude,
        asn=place.asn if correction.asn is None else correction.asn,
        accuracy_radius=place.accuracy_radius if after[3:] == before[3:] else None,
    )


def _completed(place: Place) -> Place:
    facts = Facts(place.continent, place.country, place.subdivision, place.latitude, place.longitude)
    facts, centred = complete(facts)
    continent, latitude, longitude = facts.continent, facts.latitude, facts.longitude
    return replace(place, continent=continent, latitude=latitude, longitude=longitude, centred=centred)


def _look_up(path: Path, address: Address) -> tuple[Any, int]:
    """Record and prefix length by maxminddb, which raises more than its own exception for corrupt files."""
    try:
        status = path.stat()
        reader = _reader(path, status.st_mtime_ns, status.st_size)
        if address.version == 6 and reader.metadata().ip_version == 4:
            return None, 0
        return reader.get_with_prefix_len(address)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise DatabaseError(f"{path}: corrupt: {error}") from error


@lru_cache(maxsize=8)
def _reader(path: Path, _changed: int, _size: int) -> maxminddb.reader.Reader:
    """A reader over the file's octets, not over a map of the file; opened again when the file has changed."""
    return maxminddb.reader.Reader(str(path), maxminddb.MODE_MEMORY)
