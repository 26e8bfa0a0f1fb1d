"""The maker of the ISO lists, on packages of a few codes, and what it has committed."""

import json
from pathlib import Path

import pytest
from tools.build_iso_lists import CONTINENTS, MISTAKES, WITHDRAWN, build_lists, read_entries, read_names

COUNTRIES = sorted(code for text in CONTINENTS.values() for code in text.split() if code != "XK")


def write_packages(folder: Path, countries: list[str]) -> tuple[Path, Path, Path]:
    """The three packages: *countries*, two subdivisions of Austria of which CLDR knows one, and one withdrawn code."""
    iso, subdivisions, localenames = folder / "iso", folder / "cldr-s", folder / "cldr-l"
    (localenames / "main/en").mkdir(parents=True)
    (subdivisions / "subdivisions/en").mkdir(parents=True)
    iso.mkdir()
    rows = (f"{{ name: 'The {code}', alpha2: '{code}', alpha3: '{code}X' }}" for code in countries)
    (iso / "1.js").write_text(f"export const a = [{', '.join(rows)}]")
    (iso / "2.js").write_text(
        "export const b = [{ code: 'AT-9', name: 'Wien', parent: 'AT' }, { code: 'AT-8', name: 'Vorarlberg', parent: 'AT' },"
        " { code: 'LU-D', name: 'Diekirch', parent: 'LU' }]"
    )
    names = {
        "main": {
            "en": {
                "identity": {},
                "localeDisplayNames": {"territories": {"AT": "Austria", "150": "Europe", "DE": "Germany"}},
            }
        }
    }
    (localenames / "main/en/territories.json").write_text(json.dumps(names))
    english = {
        "subdivisions": {"identity": {}, "localeDisplayNames": {"subdivisions": {"at9": "Vienna²", "x1": "X", "x2": "Y"}}}
    }
    (subdivisions / "subdivisions/en/en.json").write_text(json.dumps(english))
    return iso, subdivisions, localenames


def test_literals_with_either_quote_and_escapes() -> None:
    script = "[{ code: 'A', name: 'L\\'Oriental' }, { name: \"Provence-Alpes-Côte-d'Azur\", code: 'B' }, { code: 'C' }]"
    assert read_entries(script, ("code", "name")) == [("A", "L'Oriental"), ("B", "Provence-Alpes-Côte-d'Azur"), ("C", "")]


def test_english_names_first_local_ones_aside_withdrawn_codes_out(tmp_path: Path) -> None:
    lists, local = build_lists(*write_packages(tmp_path, COUNTRIES))
    assert lists["subdivisions"] == {"AT": {"8": "Vorarlberg", "9": "Vienna"}}
    assert local == {"AT": {"9": "Wien"}}
    countries = lists["countries"]
    assert isinstance(countries, dict)
    assert (countries["AT"], countries["NO"], countries["XK"]) == ("Austria", "The NO", "Kosovo")
    assert "150" not in countries


def test_a_country_without_continent_is_refused(tmp_path: Path) -> None:
    packages = write_packages(tmp_path, [*COUNTRIES, "QQ"])
    with pytest.raises(SystemExit, match="continents and countries differ: \\['QQ'\\]"):
        build_lists(*packages)


def test_names_are_found_at_any_depth(tmp_path: Path) -> None:
    _, subdivisions, _ = write_packages(tmp_path, COUNTRIES)
    assert read_names(subdivisions / "subdivisions/en/en.json") == {"at9": "Vienna", "x1": "X", "x2": "Y"}


def test_mistakes_are_no_countries_but_mean_one() -> None:
    assert not set(MISTAKES) & {*COUNTRIES, "XK"}
    assert set(MISTAKES.values()) <= {*COUNTRIES, "XK"}
    assert WITHDRAWN.fullmatch("LU-D")
    assert not WITHDRAWN.fullmatch("LU-DI")
