"""What a start goes by when `server` itself cannot be read, and whom root believes."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest
from tests.world import write_world

from geodns.compiler import images
from geodns.compiler.build import build
from geodns.compiler.last_good import FOLDER, MANIFEST, keep, stage
from geodns.compiler.opening import open_server
from geodns.config.files import Disk
from geodns.errors import ConfigError

CONFIG = """
server: {listen: ["127.0.0.1:5399"], state: STATE}
geoip: {database: world.mmdb}
datacenters: {ams: {coordinates: [52.37, 4.90]}}
services: {www: {check: off, pools: {ams: [192.0.2.1]}}}
zones: {example.com: {ns: [ns1], records: {www: {service: www}, ns1: {A: 192.0.2.53}}}}
"""
BROKEN = 'server: {listen: ["127.0.0.1:53'  # half a file


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The path of a configuration that was published, so that its state has it as the last good one."""
    (tmp_path / "state").mkdir()
    path = tmp_path / "geodns.yaml"
    write(path, CONFIG)
    (tmp_path / "world.mmdb").write_bytes(
        write_world({"0.0.0.0/1": {"country": "FR", "coordinates": [48.0, 2.0]}}, build_epoch=int(time.time()))
    )
    keep_now(path)
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text.replace("STATE", str(path.parent / "state")))


def keep_now(path: Path) -> None:
    disk = Disk()
    build(path, None, files=disk)
    state = path.parent / "state"
    keep(state, stage(disk, path, state, os.getpid()))


def environ(path: Path) -> dict[str, str]:
    return {"STATE_DIRECTORY": str(path.parent / "state")}


def test_a_file_that_can_be_read_is_what_counts(site: Path) -> None:
    write(site, CONFIG.replace("5399", "5400"))
    found = open_server(site, environ(site), strict=False)
    assert (found.path, found.server.listen[0].port, found.broken) == (site, 5400, ())


def test_a_broken_one_gives_way_to_the_last_good_and_is_complained_of(site: Path) -> None:
    write(site, BROKEN)
    found = open_server(site, environ(site), strict=False)
    assert (found.path, found.server.listen[0].port) == (site, 5399)
    assert found.server.state == site.parent / "state"
    assert [complaint.place.file for complaint in found.broken] == [str(site)]


def test_strict_takes_nothing_but_the_file(site: Path) -> None:
    write(site, BROKEN)
    with pytest.raises(ConfigError) as caught:
        open_server(site, environ(site), strict=True)
    assert str(site) in str(caught.value)


def test_without_a_last_good_one_the_complaints_are_all(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, BROKEN)
    monkeypatch.setattr(images, "USUAL_STATE", site.parent / "none")
    with pytest.raises(ConfigError) as caught:
        open_server(site, {}, strict=False)
    assert {complaint.place.file for complaint in caught.value.complaints} == {str(site)}


def test_the_usual_place_is_looked_in_where_systemd_names_none(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, BROKEN)
    monkeypatch.setattr(images, "USUAL_STATE", site.parent / "state")
    assert open_server(site, {}, strict=False).broken


def test_both_broken_tells_both(site: Path) -> None:
    write(site, BROKEN)
    manifest = site.parent / "state" / FOLDER / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-9])
    with pytest.raises(ConfigError) as caught:
        open_server(site, environ(site), strict=False)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{site}:")
    assert lines[-1].endswith("manifest.json is cut off or altered; the last good configuration is lost")


def test_that_of_another_file_is_not_served(site: Path) -> None:
    other = site.parent / "other.yaml"
    write(other, BROKEN)
    with pytest.raises(ConfigError, match=f"was made from {site}, not from {other}"):
        open_server(other, environ(site), strict=False)


def test_usual_places_find_theirs_again(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is gone altogether: nothing was named, so it must be that of a usual place."""
    site.unlink()
    monkeypatch.chdir(site.parent)
    assert open_server(None, environ(site), strict=False).path == site
    named = environ(site) | {"GEODNS_CONFIG": "geodns.yaml"}
    assert open_server(None, named, strict=False).path == site
    monkeypatch.chdir("/")
    with pytest.raises(ConfigError, match="was made from"):
        open_server(None, environ(site), strict=False)
    with pytest.raises(ConfigError, match="was made from"):
        open_server(None, named, strict=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("user", "trusted"), [("", False), ("user: root, ", False), ("user: nobody, ", True), ("user: x, ", False)]
)
def test_root_believes_another_users_folder_only_to_become_that_user(site: Path, user: str, trusted: bool) -> None:
    """Who has taken over the daemon's user must not find a way to be root at the next start."""
    write(site, CONFIG.replace("server: {", "server: {" + user))
    keep_now(site)
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = site.parent / "state" / FOLDER
    os.chown(folder, nobody, -1)
    write(site, BROKEN)
    if trusted:
        assert open_server(site, environ(site), strict=False).server.user == "nobody"
    else:
        with pytest.raises(ConfigError, match=f"belongs to user {nobody}, .* root does not trust it"):
            open_server(site, environ(site), strict=False)
    os.chown(folder, 0, -1)
    assert open_server(site, environ(site), strict=False).broken, "its own folder it believes"
