"""What the parts of a configuration mean together: names, references, codes.

Knows `Loaded`; `check_rules` and `check_services` know maps and services. Does no input or output, and reads no rdata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Complaint, Severity
from .check_rules import check_codes, check_maps, check_width
from .check_services import check_services
from .loaded import Loaded, is_wrong, sort_complaints
from .model import Config
from .model_checks import DnsCheck, HttpsCheck, TlsCheck
from .places import Places, tell_undefined

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MOST_NEGATIVE_TTL = 300  # seconds


def check_config(loaded: Loaded) -> list[Complaint]:
    """Everything that the model alone cannot see, errors and warnings.

    Where loading found errors, parts are missing, and warnings could be about what is missing: only errors are told then.
    """
    config, places = loaded.config, loaded.places
    complaints: list[Complaint] = [
        *check_names(places),
        *check_networks(config, places),
        *check_maps(config, places),
        *check_checks(config, places),
        *check_services(config, places),
        *check_zones(config, places),
    ]
    if is_wrong(loaded.complaints):
        complaints = [complaint for complaint in complaints if complaint.severity is Severity.ERROR]
    return list(sort_complaints(complaints, loaded.files))


def check_names(places: Places) -> Iterator[Complaint]:
    """Names of datacenters, maps, checks and services: their letters, and that no two differ only in case."""
    for section in ("datacenters", "maps", "checks", "services"):
        seen: dict[str, str] = {}
        for name in places.names(section):
            if (section, name) in places.moved:
                continue
            if not NAME.fullmatch(name):
                text = (
                    f'the name "{name}" must begin with a letter or digit and go on with letters, digits, . _ - (63 at most)'
                )
                yield places.key_error((section, name), text)
            first = seen.setdefault(name.lower(), name)
            if first != name:
                line = places.find_key((section, first)).line
                yield places.key_error((section, name), f'"{name}" differs from "{first}" in line {line} only in case')


def check_networks(config: Config, places: Places) -> Iterator[Complaint]:
    """The corrections of `geoip.networks`."""
    for network, correction in config.geoip.networks.items():
        path = ("geoip", "networks", network)
        yield from check_width(network, path, places)
        if correction.datacenter is not None and correction.datacenter not in places.names("datacenters"):
            yield places.error((*path, "datacenter"), tell_undefined("datacenter", correction.datacenter, places))
        yield from check_codes(correction, path, places)
        country, subdivision = correction.country, correction.subdivision
        if country and subdivision and not subdivision.startswith(f"{country}-"):
            yield places.warning((*path, "subdivision"), f"{subdivision} is not in {country}")


def check_checks(config: Config, places: Places) -> Iterator[Complaint]:
    """What the keys of a check mean together."""
    for name, check in config.checks.items():
        path = ("checks", name)
        if isinstance(check, (HttpsCheck, TlsCheck)) and check.ca is not None and not check.verify:
            yield places.warning((*path, "ca"), "is not used: verify is false")
        if isinstance(check, DnsCheck) and not _is_type(check.qtype):
            yield places.error((*path, "qtype"), f'"{check.qtype}" is not a record type')


def _is_type(mnemonic: str) -> bool:
    import dns.exception  # noqa: PLC0415  (few configurations need it, and it is not light)
    import dns.rdatatype  # noqa: PLC0415

    try:
        dns.rdatatype.from_text(mnemonic)
    except (dns.exception.DNSException, ValueError):
        return False
    return True


def check_zones(config: Config, places: Places) -> Iterator[Complaint]:
    """Services of owners, and times that fit services. Records themselves are read by the compiler of zones."""
    if not config.zones and "zones" not in places.root:
        yield places.warning((), "no zones: every query is refused")
    for apex, zone in config.zones.items():
        services = False
        for name, owner in zone.records.items():
            if owner.service is None:
                continue
            services = True
            if owner.service not in places.names("services"):
                path = ("zones", apex, "records", name, "service")
                yield places.error(path, tell_undefined("service", owner.service, places))
        ttl = zone.soa.negative_ttl
        if services and ttl is not None and ttl > MOST_NEGATIVE_TTL:
            text = f"{ttl} s is long beside services: so long will resolvers remember that a name or type was missing"
            yield places.warning(("zones", apex, "soa", "negative_ttl"), text)
