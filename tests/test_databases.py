"""Which databases are in use, how old they are, and whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from geodns.databases import find_databases
from geodns.errors import ConfigError

from .scenes import write_scene
from .world import BUILT, write_world

DAY = 86400


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEODNS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_databases_stand_in_the_order_in_which_they_are_asked(tmp_path: Path) -> None:
    text = write_scene(tmp_path).read_text()
    (tmp_path / "first.mmdb").write_bytes(
        write_world({"1.0.0.0/8": {"country": "AU"}}, ip_version=4, database_type="First-City")
    )
    (tmp_path / "asn.mmdb").write_bytes(write_world({"1.0.0.0/8": {"asn": 64500}}, database_type="Made-ASN"))
    text = text.replace("database: world.mmdb", "database: [first.mmdb, world.mmdb, builtin]\n  asn: asn.mmdb")
    (tmp_path / "geodns.yaml").write_text(text)
    found = find_databases(tmp_path / "geodns.yaml", BUILT + 10.5 * DAY)
    kinds = [(file.key, file.kind, file.packaged) for file in found.files]
    assert kinds[:2] == [("geoip.database", "First-City", False), ("geoip.database", "Test-City", False)]
    assert kinds[2][2]
    assert kinds[3] == ("geoip.asn", "Made-ASN", False)
    assert [file.families for file in found.files[:2]] == [("IPv4",), ("IPv4", "IPv6")]
    assert found.files[0].age_days == 10
    assert found.notice is not None


def test_a_database_of_the_future_is_new(tmp_path: Path) -> None:
    found = find_databases(write_scene(tmp_path), BUILT - DAY)
    assert found.files[0].age_days == 0
    assert found.notice is None


def test_without_configuration_the_packaged_one_is_told() -> None:
    (file,) = find_databases(None, BUILT).files
    assert file.packaged


def test_a_configuration_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        find_databases(tmp_path / "no.yaml", BUILT)
