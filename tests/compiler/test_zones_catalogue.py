"""Every mistake in the catalogue gives exactly its lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from geodns.compiler.zones import build_zones
from geodns.config.load import read_config
from geodns.config.loaded import sort_complaints

BASE = """
server: {listen: ["127.0.0.1:5300"]}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
"""
SERVICES = """
services:
  www: {check: off, pools: {ams: [192.0.2.10], nyc: [198.51.100.10]}}
  cdn: {check: off, pools: {ams: [edge.example.net.]}}
  falls-back: {check: off, pools: {ams: [192.0.2.10]}, all_down: {service: cdn}}
  round: {check: off, pools: {ams: [e.example.com.]}}
"""

CASES = yaml.safe_load((Path(__file__).parent / "zone_catalogue/mistakes.yaml").read_text(encoding="utf-8"))


def complaints_of(case: dict[str, Any], folder: Path) -> list[str]:
    """What is said about the case, without the folder's name."""
    for name, text in case.get("files", {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    config = folder / "geodns.yaml"
    config.write_text(case["config"] + BASE + ("" if "services:" in case["config"] else SERVICES), encoding="utf-8")
    loaded = read_config(config)
    block, found = build_zones(loaded, None)
    assert block == b""
    everything = sort_complaints((*loaded.complaints, *found), loaded.files)
    return [str(complaint).replace(f"{folder}/", "") for complaint in everything]


@pytest.mark.parametrize("case", CASES, ids=[case["title"].replace(" ", "-") for case in CASES])
def test_says(case: dict[str, Any], tmp_path: Path) -> None:
    assert complaints_of(case, tmp_path) == case["expect"]


MANUAL = (Path(__file__).parents[2] / "docs/reference/zones.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| (error|warning|both) \|", MANUAL, re.MULTILINE)
LINES = [
    line
    for case in CASES
    for line in case["expect"]
    if "zone" in line or "org:" in line or "sub/" in line or "self:" in line
]
ELSEWHERE = {"which was served before and stays"}  # test_zones.py: needs a serial served before


def severity_of(line: str) -> str:
    return "warning" if ": warning: " in line else "error"


@pytest.mark.parametrize(("words", "severity"), ROWS, ids=[words.replace(" ", "-") for words, _ in ROWS])
def test_the_manual_quotes_what_is_said(words: str, severity: str) -> None:
    found = {severity_of(line) for line in LINES if words in line}
    assert found == ({"error", "warning"} if severity == "both" else {severity}) or words in ELSEWHERE


@pytest.mark.parametrize("line", [line for line in LINES if "must be" not in line])
def test_what_is_said_stands_in_the_manual(line: str) -> None:
    assert any(words in line for words, _ in ROWS)
