"""Every line of checklist.md has a test named after its id, and no test has an id that is not there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
LINES = re.findall(r"^\| ([HBETZS]\d+) \| ([MSO]) \|", (HERE / "checklist.md").read_text(), re.MULTILINE)


def test_every_id_has_a_test() -> None:
    sources = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    names = " ".join(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    tested = set(re.findall(r"_([HBETZS]\d+)(?=_)", names))
    listed = {number for number, _ in LINES}
    assert sorted(listed - tested) == []
    assert sorted(tested - listed) == []


def test_the_checklist_is_whole() -> None:
    """Numbered without gaps: a line that goes missing takes its tests' reason with it."""
    counts = {"H": 16, "B": 13, "E": 19, "T": 14, "Z": 20, "S": 12}
    assert [number for number, _ in LINES] == [f"{part}{i}" for part, count in counts.items() for i in range(1, count + 1)]
    assert sum(level == "M" for _, level in LINES) >= 60
