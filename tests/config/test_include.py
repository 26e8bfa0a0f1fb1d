from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geodns.config import include
from geodns.config.load import load_config
from geodns.config.loaded import Loaded
from geodns.errors import ConfigError

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files below a folder that is then the current one; gives the main file as it would be named there."""
    monkeypatch.chdir(tmp_path)

    def write_files(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Path("geodns.yaml")

    return write_files


def complain(path: Path) -> list[str]:
    """What is said of *path*, errors and warnings."""
    try:
        loaded = load_config(path)
    except ConfigError as error:
        return [str(complaint) for complaint in error.complaints]
    return [str(complaint) for complaint in loaded.complaints]


NETWORK = "geoip: {networks: {10.0.0.0/8: {asn: 1}}}\n"
AMS = "datacenters: {ams: {coordinates: [52.37, 4.90]}}\n"


def test_names_of_all_files_stand_together(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": AMS + "include: conf.d/*.yaml\nzones: {example.com: {}}\n",
            "conf.d/b.yaml": "datacenters: {sin: {coordinates: [1, 2]}}\nzones: {example.org: {}}\n" + NETWORK,
            "conf.d/a.yaml": "x-any: [1]\ndatacenters: {nyc: {coordinates: [1, 2]}}\nmaps: {eu: {}}\nchecks: {}\n",
            "conf.d/c.txt": "not read",
        }
    )
    loaded = load_config(path)
    assert list(loaded.config.datacenters) == ["ams", "nyc", "sin"]  # the main file, then the others by name
    assert list(loaded.config.zones) == ["example.com.", "example.org."]
    assert set(loaded.config.maps) == {"world", "eu"}
    assert [str(network) for network in loaded.config.geoip.networks] == ["10.0.0.0/8"]
    assert loaded.files == (Path("geodns.yaml"), Path("conf.d/a.yaml"), Path("conf.d/b.yaml"))
    assert loaded.complaints == ()


def test_a_name_in_two_files_names_both(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": AMS + "include: conf.d/*.yaml\nzones: {Example.com: {}}\n",
            "conf.d/a.yaml": "datacenters:\n  ams: {coordinates: [1, 2]}\nzones: {example.com.: {}}\n",
            "conf.d/b.yaml": "geoip: {networks: {10.0.0.0/8: {asn: 1}}}\n",
            "conf.d/c.yaml": "geoip: {networks: {10.0.0.0/8: {asn: 2}}}\n",
        }
    )
    assert complain(path) == [
        'conf.d/a.yaml:2:3: datacenters: "ams" is defined twice; first at geodns.yaml:1:15',
        'conf.d/a.yaml:3:9: zones: "example.com." is defined twice; first at geodns.yaml:3:9',
        'conf.d/c.yaml:1:20: geoip.networks: "10.0.0.0/8" is defined twice; first at conf.d/b.yaml:1:20',
    ]


def test_what_belongs_into_the_main_file_is_refused_elsewhere(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": "include: [more.yaml]\n",
            "more.yaml": "server: {}\nhealth: {}\ninclude: x.yaml\ngeoip: {asn: x.mmdb, nets: {}}\nzone: {}\nzones: 5\n",
        }
    )
    assert complain(path) == [
        'more.yaml:1:1: "server" stands in the main file, geodns.yaml',
        'more.yaml:2:1: "health" stands in the main file, geodns.yaml',
        "more.yaml:3:1: an included file includes no others; geodns.yaml may",
        'more.yaml:4:9: "geoip.asn" stands in the main file, geodns.yaml',
        'more.yaml:4:22: unknown key "nets", did you mean "networks"?',
        'more.yaml:5:1: unknown key "zone", did you mean "zones"?',
        "more.yaml:6:8: zones: must be a mapping, got 5",
    ]


def test_a_pattern_without_match_is_a_warning_a_file_that_is_not_there_an_error(write: Write) -> None:
    path = write({"geodns.yaml": "include: [conf.d/*.yaml, gone.yaml, [x], ~]\nzones: {}\n"})
    assert complain(path) == [
        'geodns.yaml:1:11: warning: include: no file matches "conf.d/*.yaml"',
        "geodns.yaml:1:37: include: must be a path or a pattern, got a list",
        "geodns.yaml:1:42: include: must be a path or a pattern, got nothing",
        "gone.yaml: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("written", ["off", "~", "", "[]"])
def test_include_can_be_switched_off(write: Write, written: str) -> None:
    assert complain(write({"geodns.yaml": f"zones: {{}}\ninclude: {written}\n"})) == []


def test_the_main_file_and_folders_are_not_included(write: Write, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    path = write({"geodns.yaml": AMS + "include: ['*.yaml', a.*]\n", "a.yaml": "zones: {example.com: {}}\n"})
    assert load_config(path).files == (Path("geodns.yaml"), Path("a.yaml"))


def test_mistakes_of_all_files_come_at_once_in_the_order_of_the_files(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": "include: [b.yaml, a.yaml]\nzones: {example.com: {tll: 1}}\n",
            "a.yaml": "datacenters: {ams: {coordinates: 1}}\n",
            "b.yaml": "datacenters: {nyc: [}\n",
        }
    )
    found = complain(path)
    assert [line.split(":")[0] for line in found] == ["geodns.yaml", "b.yaml", "a.yaml"]


def test_paths_start_at_the_file_that_names_them(write: Write, tmp_path: Path) -> None:
    path = write(
        {
            "geodns.yaml": "geoip: {database: [a.mmdb, /b.mmdb, builtin], networks_file: nets/n.yaml}\n"
            "include: sub/*.yaml\nserver: {state: var}\n",
            "sub/x.yaml": "zones: {example.com: {file: example.com.zone}}\nchecks:\n"
            "  t: {type: tls, port: 1, ca: ../ca.pem}\n"
            "  e: {type: exec, command: [./run, a/b]}\n  f: {type: exec, command: [run]}\n",
            "nets/n.yaml": "10.0.0.0/8: {asn: 5}\n",
        }
    )
    here = load_config(path).config
    assert here.geoip.database == (Path("a.mmdb"), Path("/b.mmdb"), "builtin")
    assert here.geoip.networks_file == Path("nets/n.yaml")
    assert here.server.state == Path("var")
    assert here.zones["example.com."].file == Path("sub/example.com.zone")
    assert str(here.checks["t"]).count("sub/../ca.pem") == 1
    assert here.checks["e"].model_dump()["command"] == ("sub/run", "a/b")
    assert here.checks["f"].model_dump()["command"] == ("run",)
    absolute = load_config(tmp_path / "geodns.yaml").config
    assert absolute.zones["example.com."].file == tmp_path / "sub/example.com.zone"


def test_an_aliased_path_starts_where_it_was_written(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": "include: sub/x.yaml\nzones: {}\n",
            "sub/x.yaml": "x-file: &f some.zone\nzones: {example.com: {file: *f}}\n",
        }
    )
    assert load_config(path).config.zones["example.com."].file == Path("sub/some.zone")


def test_the_networks_file_is_merged(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": "geoip: {networks: {10.0.0.0/8: {asn: 1}}, networks_file: n.yaml}\n",
            "n.yaml": "x-a: &a {asn: 7}\n192.0.2.1: *a\n2001:DB8::/32: {asn: 3}\n",
        }
    )
    loaded = load_config(path)
    found = {str(network): its.asn for network, its in loaded.config.geoip.networks.items()}
    assert found == {"10.0.0.0/8": 1, "192.0.2.1/32": 7, "2001:db8::/32": 3}
    assert loaded.files == (Path("geodns.yaml"), Path("n.yaml"))
    assert str(loaded.places.find_key(("geoip", "networks", "2001:db8::/32"))) == "n.yaml:3:1"


def test_mistakes_in_the_networks_file_are_told_there(write: Write) -> None:
    path = write(
        {
            "geodns.yaml": "geoip: {networks: {10.0.0.0/8: {asn: 1}}, networks_file: n.yaml}\n",
            "n.yaml": "10.0.0.0/8: {asn: 2}\n10.0.0.1/8: {asn: 2}\n192.0.2.0/24: {asns: 5}\n192.0.2.0/25: {country: UK}\n",
        }
    )
    assert complain(path) == [
        'n.yaml:1:1: geoip.networks: "10.0.0.0/8" is defined twice; first at geodns.yaml:1:20',
        'n.yaml:2:1: geoip.networks: "10.0.0.1/8" has bits set after its prefix, did you mean 10.0.0.0/8?',
        'n.yaml:3:16: unknown key "asns", did you mean "asn"?',
        'n.yaml:4:25: geoip.networks.192.0.2.0/25.country: "UK" is not a country, did you mean GB?',
    ]


def test_networks_come_from_the_file_alone_too(write: Write) -> None:
    path = write({"geodns.yaml": "geoip: {networks_file: n.yaml, networks: }\n", "n.yaml": "10.0.0.0/8: {asn: 2}\n"})
    assert len(load_config(path).config.geoip.networks) == 1
    path = write({"geodns.yaml": "geoip: {networks_file: n.yaml}\n", "n.yaml": "# none yet\n"})
    assert load_config(path).config.geoip.networks == {}


def test_files_that_cannot_be_read_are_one_line(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complain(Path("none.yaml")) == ["none.yaml: cannot be read: No such file or directory"]
    (tmp_path / "folder").mkdir()
    assert complain(Path("folder")) == ["folder: cannot be read: it is not a file"]
    assert complain(Path("a\0b")) == ["a\0b: cannot be read: embedded null byte"]
    (tmp_path / "latin.yaml").write_bytes(b"zones: {}\n# caf\xe9\n")
    assert complain(Path("latin.yaml")) == ["latin.yaml:2:6: is not UTF-8: found octet 0xe9"]
    (tmp_path / "wide.yaml").write_bytes("zones: {}\n".encode("utf-16"))
    assert complain(Path("wide.yaml")) == ["wide.yaml:1:1: is not UTF-8: found octet 0xff"]
    monkeypatch.setattr(include, "LARGEST", 2 * 1024 * 1024)
    (tmp_path / "large.yaml").write_bytes(b"#" * (2 * 1024 * 1024 + 1))
    assert complain(Path("large.yaml")) == ["large.yaml: is larger than 2 MiB"]


def test_a_file_without_permission_is_one_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write({"geodns.yaml": "zones: {}\n"})

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    assert complain(path) == ["geodns.yaml: cannot be read: Permission denied"]


def test_a_byte_order_mark_is_no_part_of_the_first_key(write: Write) -> None:
    assert complain(write({"geodns.yaml": "\ufeffzones: {}\n"})) == []


def test_a_merged_mapping_does_not_change_its_anchor(write: Write) -> None:
    """`datacenters` is an alias here; the names of the included file belong to it alone."""
    path = write(
        {
            "geodns.yaml": "x-d: &d {ams: {coordinates: [1, 2]}}\ndatacenters: *d\ninclude: a.yaml\nzones: {}\n",
            "a.yaml": "datacenters: {nyc: {coordinates: [1, 2]}}\n",
        }
    )
    assert list(load_config(path).config.datacenters) == ["ams", "nyc"]


def test_a_check_in_a_service_gets_a_name_that_nobody_can_write(write: Write) -> None:
    text = "services:\n  www: {check: {type: tcp, port: 5}, pools: {ams: [192.0.2.1]}}\nzones: {}\n"
    loaded: Loaded = load_config(write({"geodns.yaml": AMS + text}))
    assert loaded.config.services["www"].check == ("www:check",)
    assert loaded.config.checks["www:check"].type == "tcp"
    place = loaded.places.find(("checks", "www:check", "port"))
    assert (place.line, place.column) == (3, 34)
    assert loaded.places.text(("checks", "www:check", "port")) == "services.www.check.port"
    assert loaded.complaints == ()
