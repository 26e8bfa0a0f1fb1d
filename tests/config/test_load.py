from __future__ import annotations

import pickle
import random
import shutil
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.check import check_config
from geodns.config.load import find_config, load_config, load_server, read_config
from geodns.config.loaded import is_wrong
from geodns.config.model import Config, Listen, Map, Member, Server, Ttl
from geodns.errors import Complaint, ConfigError, Severity

EXAMPLES = Path(__file__).parents[2] / "config"
COMPLETE = (EXAMPLES / "complete.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, whose main file may be overwritten."""
    return Path(shutil.copytree(EXAMPLES, tmp_path_factory.mktemp("examples") / "config"))


def complaints_of(path: Path) -> tuple[Complaint, ...]:
    """Everything that is said of *path*; whatever is raised beside ConfigError fails the test."""
    try:
        loaded = load_config(path)
    except ConfigError as error:
        assert is_wrong(error.complaints)
        return error.complaints
    assert not is_wrong(loaded.complaints) and not loaded.broken
    return (*loaded.complaints, *check_config(loaded))


def assert_inside(path: Path, complaints: tuple[Complaint, ...]) -> None:
    """Every complaint about *path* stands at a position that the file has, and is one line."""
    lines = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").splitlines() or [""]
    for complaint in complaints:
        assert len(complaint.text.splitlines()) == 1, complaint.text
        if complaint.place.file == str(path):
            assert 0 <= complaint.place.line <= len(lines) + 1, complaint
            line = lines[complaint.place.line - 1] if 1 <= complaint.place.line <= len(lines) else ""
            assert 0 <= complaint.place.column <= len(line) + 1, complaint


@pytest.mark.parametrize("name", ["quickstart.yaml", "complete.yaml"])
def test_the_examples_load_without_any_complaint(name: str) -> None:
    assert complaints_of(EXAMPLES / name) == ()


def test_the_complete_example_says_what_its_comments_say() -> None:
    config = load_config(EXAMPLES / "complete.yaml").config
    assert [str(one.address) for one in config.server.listen] == ["0.0.0.0", "::"]
    assert config.server.backend is not None and config.server.backend.mode == 0o660
    assert config.server.nsid == b"ams1" and config.server.workers is None
    assert config.geoip.networks[ip_network("203.0.113.0/24")].country == "JP"
    assert config.geoip.networks[ip_network("2001:db8:a::/48")].datacenter == "ams"  # from networks.yaml
    assert config.maps["world"].rules[2].country == ("NO", "SE", "FI")
    assert config.maps["world"].rules[3].order == ((("nyc", 70), ("sin", 30)), (("ams", 1),))
    assert config.services["www"].ttl == Ttl(min=5, max=60)
    nyc = config.services["www"].pools["nyc"]
    assert nyc[1] == Member(address=ip_address("198.51.100.11"), weight=1, probe_at="10.1.2.3:8443", drain=False)
    assert config.services["cdn"].pools["nyc"][0].target == "edge-n.cdn.example.net."
    assert config.services["cdn"].check is None and "check" in config.services["cdn"].model_fields_set
    assert config.services["sorry"].check == ("sorry:check",)
    assert {check.type for check in config.checks.values()} == {"http", "https", "tcp", "tls", "icmp", "dns", "exec", "file"}
    zone = config.zones["example.com."]
    assert zone.records["mail"].ttl == 3600 and zone.records["ftp"].rrsets["A"].ttl == 60
    assert zone.records["@"].rrsets["CAA"].values == ('0 issue "ca.example.net"',)
    assert zone.file == EXAMPLES / "example.com.zone"


def test_what_is_not_written_is_the_table_of_defaults(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text("zones: {}\n", encoding="utf-8")
    config = load_config(path).config
    assert config == Config()
    server = config.server
    assert server.listen == (Listen(address=ip_address("127.0.0.1"), port=5300),)
    assert server.http == Listen(address=ip_address("127.0.0.1"), port=5301)
    assert (server.backend, server.nsid, server.query_log, server.chaos) == (None, None, None, None)
    assert (server.workers, server.user, server.client_subnet, server.watch) == (None, None, True, False)
    assert config.geoip.database == ("builtin",) and config.geoip.asn is None
    assert config.maps == {"world": Map(rules=(), nearest=True, depth=3, default=())}
    assert (config.health.startup_wait, config.health.stale_limit, config.health.freeze_limit) == (10, 3600, 120)


def test_every_scalar_is_its_source_text(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text(
        "datacenters: {no: {coordinates: [010, -0.5], bias: 010, drain: On}, 1.10: {coordinates: [+1, 1e1]}}\n"
        "maps: {world: {rules: [{country: NO, order: [no]}]}}\n"
        "services: {y: {check: off, pools: {no: [192.0.2.1], 1.10: [192.0.2.2]}}}\n"
        "zones: {example.com: {records: {1.10: {TXT: [1.10, NO, ~, 0x10, 2001-01-01, 1_000]}, off: {service: y}}}}\n",
        encoding="utf-8",
    )
    config = load_config(path).config
    assert list(config.datacenters) == ["no", "1.10"]
    assert config.datacenters["no"].bias == 10 and config.datacenters["no"].drain
    assert config.datacenters["no"].coordinates == (10.0, -0.5)
    assert config.maps["world"].rules[0].country == ("NO",)
    records = config.zones["example.com."].records
    assert list(records) == ["1.10", "off"] and records["off"].service == "y"
    assert records["1.10"].rrsets["TXT"].values == ("1.10", "NO", "~", "0x10", "2001-01-01", "1_000")


@pytest.mark.parametrize("name", ["quickstart.yaml", "complete.yaml"])
@pytest.mark.parametrize("style", [{"default_flow_style": True}, {"default_flow_style": False}, {"default_style": "'"}])
def test_the_style_of_writing_means_nothing(folder: Path, name: str, style: dict[str, Any]) -> None:
    """(But for quoted words that switch off: what is off in the examples is left out here.)"""

    def without_off(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_off(inner) for key, inner in value.items() if inner != "off"}
        return [without_off(inner) for inner in value] if isinstance(value, list) else value

    written = without_off(yaml.load((EXAMPLES / name).read_text(encoding="utf-8"), Loader=yaml.BaseLoader))
    plain, styled = folder / "plain.yaml", folder / "styled.yaml"
    plain.write_text(yaml.dump(written), encoding="utf-8")
    styled.write_text(yaml.dump(written, **style), encoding="utf-8")
    assert load_config(styled).config == load_config(plain).config


def test_a_configuration_survives_the_pipe() -> None:
    loaded = load_config(EXAMPLES / "complete.yaml")
    copy = pickle.loads(pickle.dumps(loaded))
    assert copy.config == loaded.config and copy.places.find(("zones", "example.com.", "ttl")).line > 0


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text(
        "x-a: &a {bias: 5, drain: true}\nx-b: &b {bias: 7, coordinates: &here [1, 2]}\ndatacenters:\n"
        "  one: {<<: *a, coordinates: *here}\n  two: {<<: [*a, *b]}\n  three: {<<: *b, bias: 9}\nzones: {}\n",
        encoding="utf-8",
    )
    found = {name: (dc.bias, dc.drain, dc.coordinates) for name, dc in load_config(path).config.datacenters.items()}
    assert found == {"one": (5, True, (1, 2)), "two": (5, True, (1, 2)), "three": (9, False, (1, 2))}


def test_aliases_are_bounded(tmp_path: Path) -> None:
    laughs = "x-0: &a0 [lol, lol]\n" + "".join(f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    path = tmp_path / "geodns.yaml"
    path.write_text(laughs + "zones: {}\n", encoding="utf-8")
    started = time.process_time()
    (complaint,) = complaints_of(path)
    assert complaint.text == "aliases repeat more than 1,000,000 values"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_depth_is_bounded(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text("x-deep: " * (opening[0] in "[{") + opening * 100_000, encoding="utf-8")
    started = time.process_time()
    (complaint,) = complaints_of(path)
    assert "nested more than 40 levels" in complaint.text
    assert time.process_time() - started < 2


def test_many_names_load_in_moments(tmp_path: Path) -> None:
    records = "".join(f"      host{number}: {{A: [192.0.2.{number % 250}], ttl: 60}}\n" for number in range(10_000))
    path = tmp_path / "geodns.yaml"
    path.write_text(f"zones:\n  example.com:\n    ns: ns.example.net.\n    records:\n{records}", encoding="utf-8")
    started = time.process_time()
    assert len(load_config(path).config.zones["example.com."].records) == 10_000
    assert time.process_time() - started < 5


def test_many_mistakes_are_told_in_moments(tmp_path: Path) -> None:
    records = "".join(f"      host{number}: {{A: [192.0.2.1], tll: 60, ttl: x}}\n" for number in range(3_000))
    path = tmp_path / "geodns.yaml"
    path.write_text(f"zones:\n  example.com:\n    ns: ns.example.net.\n    records:\n{records}", encoding="utf-8")
    started = time.process_time()
    assert len(complaints_of(path)) >= 3_000
    assert time.process_time() - started < 5


# load_server


def test_the_server_section_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text("x-a: &a 127.0.0.1:53\nserver: {listen: *a}\nzones: [what, {is: wrong}, behind, does not matter: [}\n")
    assert load_server(path).listen == (Listen(address=ip_address("127.0.0.1"), port=53),)
    path.write_text("zones: {}\n")
    assert load_server(path) == Server()
    path.write_text("")
    assert load_server(path) == Server()


def test_the_server_section_is_the_same_in_both_readings() -> None:
    for name in ("quickstart.yaml", "complete.yaml"):
        assert load_server(EXAMPLES / name) == load_config(EXAMPLES / name).config.server


def test_mistakes_in_the_server_section_are_told_with_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("geodns.yaml")
    path.write_text("server: {listen: 53, usr: x}\nzones: {example.com: {tll: 5}}\n")
    with pytest.raises(ConfigError) as failure:
        load_server(path)
    assert str(failure.value).splitlines() == [
        'geodns.yaml:1:18: server.listen: must be ADDRESS:PORT, got 53, did you mean "127.0.0.1:53"?',
        'geodns.yaml:1:22: unknown key "usr", did you mean "user"?',
    ]
    path.write_text("server: {listen: @}\n")
    with pytest.raises(ConfigError, match="must be quoted"):
        load_server(path)
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load_server(Path("gone.yaml"))


# find_config


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("geodns.config.load.DEFAULT_FILES", ("geodns.yaml", str(tmp_path / "etc.yaml")))
    with pytest.raises(ConfigError, match="no configuration: give -c FILE, set GEODNS_CONFIG, or write"):
        find_config(environ={})
    (tmp_path / "etc.yaml").touch()
    assert find_config(environ={}) == tmp_path / "etc.yaml"
    (tmp_path / "geodns.yaml").touch()
    assert find_config(environ={}) == Path("geodns.yaml")
    assert find_config(environ={"GEODNS_CONFIG": "other.yaml"}) == Path("other.yaml")
    assert find_config(environ={"GEODNS_CONFIG": ""}) == Path("geodns.yaml")
    assert find_config(Path("given.yaml"), {"GEODNS_CONFIG": "other.yaml"}) == Path("given.yaml")


# What is wrong is left out, the rest is read


def test_what_is_wrong_is_left_out_of_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text(
        "datacenters: {ams: {coordinates: [1, 2], bias: x}, nyc: {coordinates: x}}\n"
        "services: {www: {check: off, ttl: x, pools: {ams: [192.0.2.1], nyc: [x]}}, bad: {pools: {ams: [y]}}}\n"
        "zones: {example.com: {ttl: 5, records: {a: {A: 192.0.2.1, tll: 5}, b: {}}}}\n",
        encoding="utf-8",
    )
    loaded = read_config(path)
    assert is_wrong(loaded.complaints)
    config = loaded.config
    assert list(config.datacenters) == ["ams"] and config.datacenters["ams"].bias == 0
    assert list(config.services) == ["www"] and list(config.services["www"].pools) == ["ams"]
    assert list(config.zones["example.com."].records) == ["a"]
    assert ("datacenters", "nyc") in loaded.broken and ("services", "www", "ttl") in loaded.broken
    assert not [c for c in check_config(loaded) if c.severity is Severity.WARNING]


# Properties

MARKS = "\n|\n| |  |    |: |:|- |[|]|{|}|,|\"|'|#|&a|*a|<<: *a|>|?|!x|%|@|`|---|...|\t|\r|\ufeff|\x85|\u2028|\x00|~|::|x-a: "
WORDS = "server listen zones example.com records services pools ams datacenters geoip networks checks type http off null 5s"
VALUES = "é 192.0.2.1 2001:db8:: 10.0.0.0/8 -1 1e999 include *.yaml maps world rules order country NO coordinates"
YAML_PIECES = st.sampled_from([*MARKS.split("|"), "|", *WORDS.split(), *VALUES.split()])


@given(st.lists(YAML_PIECES, max_size=40).map("".join))
@settings(deadline=None, max_examples=600)
def test_always_loads_or_says_where_it_is_wrong(folder: Path, text: str) -> None:
    path = folder / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    assert_inside(path, complaints_of(path))


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=200)
def test_always_survives_any_octets(folder: Path, octets: bytes) -> None:
    path = folder / "octets.yaml"
    path.write_bytes(octets)
    for complaint in complaints_of(path):
        assert complaint.place.file == str(path)


JUNK = ["", "~", "off", "-1", "1e999", "ams", "[]", "{}", "[[]]", "{a: b}", "ünï", "x" * 300, '"::"', "nan", "65536", "*.x"]
JUNK += ["@", "[", "}", "&x", "*x", "- ", "? ", "192.0.2.1", "::1", "5s", "0", "999999999999999999999", "' '", '"\\0"', "NO"]


def mutate(rng: random.Random) -> str:
    """The complete example with one to four changes: words replaced, lines dropped, doubled, swapped or moved in."""
    lines = COMPLETE.splitlines()
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 2:
                lines[at] = " " * rng.randint(0, 6) + lines[at].strip()
            case 3:
                position = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:position] + rng.choice(JUNK) + lines[at][position + rng.randint(0, 3) :]
            case _:
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(JUNK)
                lines[at] = " ".join(words)
        lines = lines or [""]
    return "\n".join(lines)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=250)
def test_always_survives_changes_of_the_complete_example(folder: Path, seed: int) -> None:
    path = folder / "complete.yaml"
    path.write_text(mutate(random.Random(seed)), encoding="utf-8")
    complaints = complaints_of(path)
    assert_inside(path, complaints)
    assert len(set(complaints)) == len(complaints)
    assert complaints_of(path) == complaints
