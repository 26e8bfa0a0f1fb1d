"""Names of subdivisions, as the source database spells them, to ISO 3166-2 codes.

Knows the committed lists: names of the standard, English names, and `aliases.json`, the spellings of the source that are
neither, checked one by one. Exact matching on purpose: looser ways took Altay Kray for the Altai Republic and Mexico City
for the State of Mexico. A name without a code is kept as a name.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from geodns.geo import iso

HERE = Path(__file__).parent
# Letters that Unicode does not take apart into a base and a mark.
LETTERS = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ı": "i", "æ": "ae", "ß": "ss", "ə": "a", "ð": "d", "þ": "th"})


def spell(name: str) -> str:
    """*name* without case, marks and punctuation, so that `São Paulo` and `Sao Paulo` are one."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if not unicodedata.combining(c))
    return " ".join(re.findall("[a-z0-9]+", plain.translate(LETTERS)))


@cache
def _spellings() -> Mapping[tuple[str, str], str | None]:
    """(country, spelling) to code; None where two codes share a spelling, which only an alias may decide."""
    local: dict[str, dict[str, str]] = json.loads((HERE / "local_names.json").read_text(encoding="utf-8"))
    named = [(code, name) for code, name in iso.subdivision_names().items()]
    named += [(f"{country}-{part}", name) for country, parts in local.items() for part, name in parts.items()]
    found: dict[tuple[str, str], str | None] = {}
    for code, name in named:
        # "Bolzano, Bozen", "Galicia [Galicia]": each form counts, and so does the whole.
        for form in {name, *re.split(r"[/;,\[(]", name)}:
            key = (code[:2], spell(form))
            if key[1]:
                found[key] = code if found.get(key, code) == code else None
    return found


@cache
def _aliases() -> Mapping[str, Mapping[str, str]]:
    aliases: dict[str, dict[str, str]] = json.loads((HERE / "aliases.json").read_text(encoding="utf-8"))
    return aliases


def find_subdivision(country: str, name: str) -> str | None:
    """The current ISO 3166-2 code of *name* in *country*, None where the lists have none."""
    part = _aliases().get(country, {}).get(name)
    return f"{country}-{part}" if part else _spellings().get((country, spell(name)))
