"""Makes `src/geodns/builtin/iso.json`, the country and subdivision codes that configuration is checked against.

    npm pack iso-3166@4.4.0 cldr-subdivisions-full@48.2.0 cldr-localenames-full@48.2.0    (and unpack each)
    python tools/build_iso_lists.py ISO_3166 CLDR_SUBDIVISIONS CLDR_LOCALENAMES

Each argument is an unpacked package folder. Codes come from `iso-3166` (MIT) without those withdrawn since (below); English
names from CLDR (Unicode License v3), where CLDR has one, else the local names of the standard. Local names that differ go to
`tools/lite_geoip/local_names.json`, where the maker of the packaged database matches names against them. Both results are
committed; the continents and the mistakes are our own tables. Checked on 2026-11-23 against two other lists of ISO 3166-2,
code by code: 5,046 subdivisions, no difference.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

# Listed by the package, but no current codes of ISO 3166-2: Luxembourg's districts (withdrawn 2015), Brong-Ahafo (2019), the
# Tribal Areas of Pakistan (2018), the groupings that the British entry only mentions, Denmark's former local numbers.
WITHDRAWN = re.compile(r"LU-[DGL]|GH-BA|PK-TA|GB-(EAW|GBN|UKM)|DK-\d{3}")

# UN M49 regions, but with the continents that geographers' databases use, so that a rule `continent: [AS]` means the same
# with any GeoIP file: Cyprus in Europe, East Timor in Oceania, the far southern islands in Antarctica.
CONTINENTS = {
    "AF": """AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU
        MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW""",
    "AN": "AQ BV GS HM TF",
    "AS": """AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV
        MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE""",
    "EU": """AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV
        MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK""",
    "NA": """AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR
        SV SX TC TT US VC VG VI""",
    "OC": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}

# What people write for a country, beside alpha-3 codes: codes reserved in ISO 3166-1, withdrawn codes with one successor,
# the European Commission's EL and UK, codes of licence plates and of languages.
MISTAKES = {
    "UK": "GB", "EL": "GR", "EN": "GB", "AC": "SH", "TA": "SH", "BU": "MM", "CP": "FR", "CQ": "GG", "DD": "DE", "DG": "IO",
    "EA": "ES", "FX": "FR", "IC": "ES", "JA": "JP", "KO": "KR", "SF": "FI", "SP": "ES", "SU": "RU", "SW": "SE", "TP": "TL",
    "YU": "RS", "CS": "CZ", "ZR": "CD", "DA": "DK", "GER": "DE", "ENG": "GB", "HOL": "NL", "ROM": "RO",
    "XKX": "XK",
}  # fmt: skip

# English names where CLDR's are those of older codes (Iran was renumbered in 2020, Morocco in 2015; Nepal has names since;
# Uganda has one slip) or odd (Ukraine).
# One list per country, "code name" separated by "|".
OUR_NAMES = {
    "IR": """00 Markazi|01 Gilan|02 Mazandaran|03 East Azerbaijan|04 West Azerbaijan|05 Kermanshah|06 Khuzestan|07 Fars
        |08 Kerman|09 Razavi Khorasan|10 Isfahan|11 Sistan and Baluchestan|12 Kurdistan|13 Hamadan
        |14 Chaharmahal and Bakhtiari
        |15 Lorestan|16 Ilam|17 Kohgiluyeh and Boyer-Ahmad|18 Bushehr|19 Zanjan|20 Semnan|21 Yazd|22 Hormozgan|23 Tehran
        |24 Ardabil|25 Qom|26 Qazvin|27 Golestan|28 North Khorasan|29 South Khorasan|30 Alborz""",
    "MA": """01 Tangier-Tetouan-Al Hoceima|02 Oriental|03 Fez-Meknes|04 Rabat-Sale-Kenitra|05 Beni Mellal-Khenifra
        |06 Casablanca-Settat|07 Marrakesh-Safi|08 Draa-Tafilalet|09 Souss-Massa|10 Guelmim-Oued Noun
        |11 Laayoune-Sakia El Hamra|12 Dakhla-Oued Ed-Dahab""",
    "NP": "P1 Koshi|P2 Madhesh|P3 Bagmati|P5 Lumbini|P7 Sudurpashchim",
    "UA": """05 Vinnytsia|07 Volyn|09 Luhansk|12 Dnipropetrovsk|14 Donetsk|18 Zhytomyr|21 Zakarpattia|23 Zaporizhzhia
        |26 Ivano-Frankivsk|30 Kyiv City|32 Kyiv Oblast|35 Kirovohrad|40 Sevastopol|43 Crimea|46 Lviv|48 Mykolaiv|51 Odesa
        |53 Poltava|56 Rivne|59 Sumy|61 Ternopil|63 Kharkiv|65 Kherson|68 Khmelnytskyi|71 Cherkasy|74 Chernihiv
        |77 Chernivtsi""",
    "UG": "331 Omoro",
}


def read_entries(script: str, keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The objects of a JavaScript literal whose values are all strings, as tuples of *keys*; '' where one is missing."""
    found = []
    for body in re.findall(r"\{([^{}]*)\}", script):
        pairs = re.findall(r"(\w+):\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")", body)
        fields = {key: (single or double).replace("\\'", "'") for key, single, double in pairs}
        found.append(tuple(fields.get(key, "") for key in keys))
    return found


def read_names(path: Path) -> dict[str, str]:
    """CLDR's display names in *path*, without the footnote signs and alternative forms that some carry."""
    node = json.loads(path.read_text(encoding="utf-8"))
    while len(node) <= 2:
        node = next(value for key, value in node.items() if key != "identity")
    return {key: re.sub("[¹²³]", "", name).strip() for key, name in node.items() if "-alt-" not in key}


def build_lists(iso: Path, subdivisions: Path, localenames: Path) -> tuple[dict[str, object], dict[str, dict[str, str]]]:
    """Everything in iso.json, and the local names, from three unpacked packages."""
    assigned = [row for row in read_entries((iso / "1.js").read_text("utf-8"), ("alpha2", "alpha3", "name")) if row[0]]
    territory = read_names(localenames / "main/en/territories.json")
    countries = {two: territory.get(two, name) for two, _, name in assigned} | {"XK": "Kosovo"}
    english = read_names(subdivisions / "subdivisions/en/en.json")
    for country, text in OUR_NAMES.items():
        english |= {
            country.lower() + code.lower(): name for code, name in (row.strip().split(" ", 1) for row in text.split("|"))
        }
    parts: dict[str, dict[str, str]] = {}
    local: dict[str, dict[str, str]] = {}
    for code, name in read_entries((iso / "2.js").read_text("utf-8"), ("code", "name")):
        if not code or WITHDRAWN.fullmatch(code):
            continue
        country, part = code.split("-")
        shown = english.get((country + part).lower(), name)
        parts.setdefault(country, {})[part] = shown
        if shown != name:
            local.setdefault(country, {})[part] = name
    continent = {country: code for code, text in CONTINENTS.items() for country in text.split()}
    if set(continent) != set(countries):
        raise SystemExit(f"continents and countries differ: {sorted(set(continent) ^ set(countries))}")
    mistakes = {three: two for two, three, _ in assigned} | MISTAKES
    lists: dict[str, object] = {
        "continents": sorted(CONTINENTS),
        "countries": dict(sorted(countries.items())),
        "continent_of": dict(sorted(continent.items())),
        "mistakes": dict(sorted(mistakes.items())),
        "subdivisions": {country: dict(sorted(codes.items())) for country, codes in sorted(parts.items())},
    }
    return lists, {country: dict(sorted(names.items())) for country, names in sorted(local.items())}


def main() -> None:
    """Write both files, one code a line, so that a change of the standard is a readable diff."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    lists, local = build_lists(*map(Path, sys.argv[1:]))
    tools = Path(__file__).parent
    for path, content in (
        (tools.parent / "src/geodns/builtin/iso.json", lists),
        (tools / "lite_geoip/local_names.json", local),
    ):
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
