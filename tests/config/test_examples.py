"""The examples that ship: they load, they are whole, and the made-up database in them is what it is said to be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.config.test_reference import KEYS
from tests.world import write_world

from geodns.config.check import check_config
from geodns.config.compose import compose
from geodns.config.include import gather
from geodns.config.load import load_config
from geodns.config.tree import Entries, Items, Written

FOLDER = Path(__file__).parents[2] / "config"
MAIN_FILES = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "networks.yaml"]
ASN = {"192.0.2.0/24": 64496, "198.51.100.0/24": 64497, "203.0.113.0/24": 3320, "2001:db8::/32": 64498}


@pytest.mark.parametrize("path", MAIN_FILES, ids=lambda path: path.name)
def test_every_example_loads_without_a_complaint(path: Path) -> None:
    loaded = load_config(path)
    assert (*loaded.complaints, *check_config(loaded)) == ()


def test_the_complete_example_names_every_file_of_the_folder() -> None:
    loaded = load_config(FOLDER / "complete.yaml")
    config = loaded.config
    named = {*loaded.files, config.geoip.asn, *(zone.file for zone in config.zones.values() if zone.file)}
    assert named | {FOLDER / "quickstart.yaml"} == {path for path in FOLDER.rglob("*") if path.is_file()}


def test_the_made_up_database_is_written_by_the_tests_own_writer() -> None:
    """To change it, change the table above and write what is compared here."""
    octets = write_world({network: {"asn": asn} for network, asn in ASN.items()}, database_type="GeoLite2-ASN")
    assert (FOLDER / "GeoLite2-ASN.mmdb").read_bytes() == octets


def written_keys(value: Written) -> set[str]:
    """Every key below *value*, names too."""
    if isinstance(value, Entries):
        return {str(key) for key in value}.union(*map(written_keys, value.values()))
    return set[str]().union(*map(written_keys, value)) if isinstance(value, Items) else set()


def test_the_complete_example_shows_nearly_every_key() -> None:
    source = gather(FOLDER / "complete.yaml")
    assert source.root is not None
    shown = written_keys(source.root) | {"include"}
    left_out = {key.rpartition(".")[2] for key in KEYS} - shown - {"TYPE"}
    # What can be left out of nearly every zone and correction, and has its example on the reference page.
    assert left_out == {"mname", "serial", "refresh", "retry", "expire"}


def test_the_comments_of_the_quickstart_name_what_it_has() -> None:
    path = FOLDER / "quickstart.yaml"
    text = path.read_text(encoding="utf-8")
    root, _ = compose(text, str(path))
    assert root is not None
    for name in re.findall(r"(?:dig .*5300|explain) (\S+) A", text):
        assert name.removesuffix(".example.com") in written_keys(root["zones"])
    assert "127.0.0.1:5300" in str(root["server"]) and "-p 5300" in text
