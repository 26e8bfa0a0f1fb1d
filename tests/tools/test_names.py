"""Names of subdivisions to codes."""

import json

import pytest
from tools.lite_geoip.names import HERE, find_subdivision, spell

from geodns.geo import iso


@pytest.mark.parametrize(
    ("country", "name", "code"),
    [
        ("US", "California", "US-CA"),
        ("BR", "Sao Paulo", "BR-SP"),
        ("DE", "Land Berlin", None),
        ("DE", "State of Berlin", "DE-BE"),
        ("DE", "Bavaria", "DE-BY"),
        ("DE", "Bayern", "DE-BY"),  # the local name
        ("CN", "Inner Mongolia", "CN-NM"),
        ("RU", "St.-Petersburg", "RU-SPE"),
        ("RU", "Altay Kray", "RU-ALT"),  # not the Altai Republic
        ("MX", "Mexico City", "MX-CMX"),  # not the State of Mexico, nor the retired code
        ("ES", "Madrid", "ES-MD"),  # the community, not the province
        ("ES", "Valencia", "ES-VC"),
        ("IR", "Tehran", "IR-23"),  # 07 until 2020
        ("IR", "Fars", "IR-07"),
        ("MA", "Oriental", "MA-02"),  # 04 until 2015
        ("CZ", "Plzen Region", "CZ-32"),  # the region, not the city's district
        ("LT", "Vilnius", "LT-VL"),
        ("AR", "Buenos Aires", "AR-B"),
        ("AR", "Buenos Aires F.D.", "AR-C"),
        ("HK", "Kowloon", None),
        ("US", "", None),
        ("XX", "California", None),
    ],
)
def test_find_subdivision(country: str, name: str, code: str | None) -> None:
    assert find_subdivision(country, name) == code


def test_a_spelling_that_two_codes_share_is_none() -> None:
    assert spell("Viljandi") == "viljandi"
    assert find_subdivision("EE", "Viljandi") is None  # a county, a town and a parish


def test_every_alias_and_local_name_belongs_to_a_current_code() -> None:
    aliases = json.loads((HERE / "aliases.json").read_text(encoding="utf-8"))
    local = json.loads((HERE / "local_names.json").read_text(encoding="utf-8"))
    found = {f"{country}-{part}" for country, names in aliases.items() for part in names.values()}
    found |= {f"{country}-{part}" for country, parts in local.items() for part in parts}
    assert found <= iso.subdivisions()


def test_spelling_ignores_marks_case_and_punctuation() -> None:
    assert spell("Łódzkie") == spell("lodzkie")
    assert spell("Bà Rịa–Vũng Tàu") == spell("ba ria - vung tau")
    assert spell("Şırnak") == spell("Sirnak")
    assert spell("—") == ""
