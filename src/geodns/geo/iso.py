"""ISO 3166 codes and the centres of what they name: what configuration is checked against, what stands in for coordinates.

Knows the lists in `builtin/`, read once, when first asked. Knows nothing of addresses, databases or configuration.

A country is its alpha-2 code (`NO`), a subdivision its whole ISO 3166-2 code (`US-CA`), a continent one of seven codes as in
MaxMind's files. `XK` (Kosovo) is no ISO code, but user-assigned and in every GeoIP database, so it counts as a country.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@cache
def _read(name: str) -> Any:
    return json.loads(files("geodns").joinpath("builtin", name).read_text(encoding="utf-8"))


@cache
def countries() -> Mapping[str, str]:
    """English name of every current country code."""
    return MappingProxyType(_read("iso.json")["countries"])


@cache
def subdivision_names() -> Mapping[str, str]:
    """Name of every current subdivision code, English where there is an English one."""
    lists = _read("iso.json")["subdivisions"]
    return MappingProxyType({f"{country}-{part}": name for country, parts in lists.items() for part, name in parts.items()})


@cache
def subdivisions() -> frozenset[str]:
    """Every current subdivision code."""
    return frozenset(subdivision_names())


@cache
def continents() -> frozenset[str]:
    """The seven continent codes: AF AN AS EU NA OC SA."""
    return frozenset(_read("iso.json")["continents"])


def continent_of(country: str) -> str | None:
    """Continent of a country code; None for a code that is none."""
    found: str | None = _read("iso.json")["continent_of"].get(country)
    return found


def centre(country: str | None, subdivision: str | None = None) -> tuple[float, float] | None:
    """(latitude, longitude) where the addresses of *subdivision* (`US-CA`), else of *country*, lie on average.

    Weighted by the IPv4 addresses of the packaged database's source; None where it knows no address. Never (0, 0).
    """
    centres = _read("centres.json")
    found = centres.get(subdivision) or centres.get(country)
    return (found[0], found[1]) if found else None


@cache
def _country_spellings() -> Mapping[str, str]:
    names = {name.upper(): code for code, name in countries().items()}
    mistakes: Mapping[str, str] = _read("iso.json")["mistakes"]
    return MappingProxyType({**names, **{code: code for code in countries()}, **mistakes})


def suggest_country(code: str) -> str | None:
    """The country code that somebody who wrote *code* probably meant: `UK` -> `GB`, `deu` -> `DE`, `Norway` -> `NO`."""
    return _country_spellings().get(code.strip().upper())
