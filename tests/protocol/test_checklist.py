"""Every line of the checklist that an RFC makes a must, and those it recommends, has a test named after its id."""

from __future__ import annotations

import re
from pathlib import Path

# Header, Broken packets, EDNS, TCP, Zones, client Subnet
REQUIRED = {
    "H": [*range(1, 8), 9, 10, 11, 12, 13, 15, 16],
    "B": [*range(1, 14)],
    "E": [*range(1, 12), 13, 15],
    "T": [1, 2, 4, 5, 12],
    "Z": [*range(1, 8), *range(9, 18), 20],
    "S": [1, 2, 3, 5, 6, 7, 8],
}
RECOMMENDED = {
    "H": [8, 14],
    "E": [12, 14, 16, 17, 18, 19],
    "T": [3, 6, 7, 8, 9, 10, 11, 13, 14],
    "Z": [8, 18, 19],
    "S": [4, 9, 10, 11, 12],
}


def test_every_id_has_a_test() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = " ".join(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    tested = set(re.findall(r"_([HBETZS]\d+)(?=_)", names))
    wanted = {f"{section}{number}" for part in (REQUIRED, RECOMMENDED) for section, ids in part.items() for number in ids}
    assert sorted(wanted - tested) == []
    assert sorted(tested - wanted) == []
