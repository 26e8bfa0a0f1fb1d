"""The ISO lists and centres: what configuration is checked against."""

import pytest

from geodns.geo import iso


def test_lists_have_the_codes_of_the_standard() -> None:
    assert len(iso.countries()) == 250  # 249 of ISO 3166-1, and XK
    assert iso.countries()["NO"] == "Norway"
    assert len(iso.subdivisions()) == 5046
    assert {"US-CA", "DE-BY", "GB-SCT", "CN-BJ", "IR-23"} <= iso.subdivisions()
    assert iso.continents() == {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}


@pytest.mark.parametrize("code", ["UK", "EL", "XX", "EU", "A1", "us", ""])
def test_what_is_no_country_is_not_in_the_list(code: str) -> None:
    assert code not in iso.countries()
    assert iso.continent_of(code) is None


@pytest.mark.parametrize("code", ["LU-D", "GB-UKM", "US-XX", "CA", "US-ca", "PR-SJ"])
def test_withdrawn_or_invented_subdivisions_are_not_in_the_list(code: str) -> None:
    assert code not in iso.subdivisions()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("UK", "GB"), ("uk", "GB"), ("EL", "GR"), ("DEU", "DE"), ("gbr", "GB"), ("no", "NO"), ("Norway", "NO"), ("GER", "DE")],
)
def test_suggest_country(written: str, meant: str) -> None:
    assert iso.suggest_country(written) == meant


@pytest.mark.parametrize("written", ["XX", "EU", "", "Atlantis"])
def test_suggest_country_does_not_guess(written: str) -> None:
    assert iso.suggest_country(written) is None


def test_every_suggestion_is_a_country_and_every_subdivision_has_one() -> None:
    spellings = iso._country_spellings()
    assert set(spellings.values()) == set(iso.countries())
    assert not {code for code in iso.subdivisions() if code[:2] not in iso.countries() or code[2] != "-"}
    assert set(iso.subdivision_names()) == iso.subdivisions()
    assert all(iso.subdivision_names().values())


def test_every_country_has_a_continent() -> None:
    assert {iso.continent_of(code) for code in iso.countries()} == iso.continents()
    expected = {"RU": "EU", "TR": "AS", "CY": "EU", "EG": "AF", "CX": "OC", "TL": "OC", "MX": "NA"}
    assert {code: iso.continent_of(code) for code in expected} == expected


def test_centres_are_where_the_addresses_are() -> None:
    paris = iso.centre("FR", "FR-IDF")
    assert paris is not None
    assert abs(paris[0] - 48.85) < 1
    assert abs(paris[1] - 2.35) < 1
    bavaria, germany = iso.centre("DE", "DE-BY"), iso.centre("DE")
    assert bavaria is not None
    assert germany is not None
    assert bavaria[0] < germany[0]
    assert iso.centre("DE", "DE-XX") == germany  # a subdivision nobody knows: the country
    assert iso.centre(None, "DE-BY") == bavaria
    assert iso.centre(None) is None
    assert iso.centre("XX") is None


def test_every_centre_is_a_point_of_a_known_code() -> None:
    centres = iso._read("centres.json")
    assert not set(centres) - set(iso.countries()) - iso.subdivisions()
    for code, (latitude, longitude) in centres.items():
        assert -90 <= latitude <= 90, code
        assert -180 <= longitude <= 180, code
        assert (latitude, longitude) != (0, 0), code


def test_lists_cannot_be_edited() -> None:
    with pytest.raises(TypeError):
        iso.countries()["UK"] = "United Kingdom"  # type: ignore[index]
