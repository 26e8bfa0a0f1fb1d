from __future__ import annotations

from pathlib import Path

import pytest

from geodns.config.check import check_config
from geodns.config.load import load_config, read_config

FRAME = """
datacenters: {ams: {coordinates: [1, 2]}, nyc: {coordinates: [3, 4]}}
maps: {eu: {}}
checks: {web: {type: http}}
services:
  www: {map: eu, check: web, pools: {ams: [192.0.2.1], nyc: [192.0.2.2]}, all_down: {service: far}}
  far: {check: off, pools: {nyc: [192.0.2.3]}}
zones: {example.com: {records: {www: {service: www}}}}
"""


def complain(tmp_path: Path, text: str) -> list[str]:
    """What the check says of *text*, without file and position."""
    path = tmp_path / "geodns.yaml"
    path.write_text(text, encoding="utf-8")
    return [f"{complaint.path}: {complaint.text}" for complaint in check_config(load_config(path))]


def test_what_is_right_is_not_blamed(tmp_path: Path) -> None:
    assert complain(tmp_path, FRAME) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("map: eu", "map: us", "services.www.map"),
        ("check: web", "check: [web, wed]", "services.www.check[1]"),
        ("nyc: [192.0.2.2]", "sin: [192.0.2.2]", "services.www.pools"),
        ("service: far", "service: near", "services.www.all_down.service"),
        ("{service: www}", "{service: ww}", "zones.example.com.records.www.service"),
        ("eu: {}", "eu: {default: [ams, sin]}", "maps.eu.default[1]"),
        ("eu: {}", "eu: {rules: [{order: [ams, {nyc: 1, sin: 2}]}]}", "maps.eu.rules[0].order[1]"),
        ("eu: {}", "eu: {rules: [{country: ZZ, order: [ams]}]}", "maps.eu.rules[0].country"),
        ("nyc: {coord", "AMS: {coord", "datacenters"),
    ],
)
def test_every_reference_is_followed(tmp_path: Path, old: str, new: str, path: str) -> None:
    assert old in FRAME
    assert path in [line.split(": ")[0] for line in complain(tmp_path, FRAME.replace(old, new))]


def test_a_part_that_is_wrong_still_counts_as_defined(tmp_path: Path) -> None:
    """One mistake, one line: who refers to the broken datacenter is not blamed."""
    path = tmp_path / "geodns.yaml"
    path.write_text(FRAME.replace("nyc: {coordinates: [3, 4]}", "nyc: {coordinates: [3]}"), encoding="utf-8")
    loaded = read_config(path)
    assert len(loaded.complaints) == 1 and "nyc" not in loaded.config.datacenters
    assert check_config(loaded) == []


def test_complaints_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text(
        FRAME.replace("map: eu", "map: us").replace("{service: www}", "{service: w}").replace("eu: {}", "eu: {default: x}")
    )
    lines = [complaint.place.line for complaint in check_config(load_config(path))]
    assert lines == sorted(lines) and len(lines) == 3
