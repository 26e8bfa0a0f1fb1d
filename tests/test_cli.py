"""The command line: exit statuses, where lines go, and that mistakes of an operator's never show a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geodns import cli
from geodns.cli import run
from geodns.cli_options import FINE, PROBLEMS, USAGE
from geodns.geo.builtin import notice

from .scenes import CONFIG, write_scene

TEN_MISTAKES = """
server: {listen: ["127.0.0.1:5300"], colour: red}
datacenters:
  ams: {coordinates: [152.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01], bias: 100}
maps:
  world: {rules: [{country: [UK], order: [ams]}], depth: x}
services:
  www:
    check: off
    map: wrold
    pools: {fra: [192.0.2.10], nyc: [{address: 198.51.100.10, wieght: 3}, {address: 198.51.100.300}]}
zones:
  example.com:
    ns: [ns1.example.com., ns2.example.com.]
    records: {www: {service: wwww}, ns1: {A: 192.0.2.53}, ns2: {A: 198.51.100.53}}
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images and defaults of this machine's user stay out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GEODNS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_scene(tmp_path)


Captured = pytest.CaptureFixture[str]


def test_check_sums_up_what_is_served(config: Path, capsys: Captured) -> None:
    assert run(["check", "-c", str(config)]) == FINE
    *warnings, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith("2 zones, 8 services, 3 datacenters; ")
    assert all(": warning: " in line for line in warnings[:-1])
    assert warnings[-1].endswith(f"{len(warnings) - 1} warnings")


def test_strict_makes_warnings_problems(config: Path, capsys: Captured) -> None:
    assert run(["check", "-c", str(config), "--strict"]) == PROBLEMS
    assert "warnings; --strict counts warnings as problems" in capsys.readouterr().out


def test_ten_mistakes_are_ten_lines_and_a_count(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "bad.yaml").write_text(TEN_MISTAKES)
    assert run(["check", "-c", "bad.yaml"]) == PROBLEMS
    shown = capsys.readouterr()
    *complaints, end = shown.out.splitlines()
    errors = [line for line in complaints if ": warning: " not in line]
    assert len(errors) == 10, shown.out
    assert all(line.startswith("bad.yaml:") for line in complaints)
    assert end.startswith("10 problems")
    assert end.endswith("; the configuration cannot be served")
    assert shown.err == ""


def test_other_commands_complain_on_standard_error(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "bad.yaml").write_text(TEN_MISTAKES)
    assert run(["explain", "www.example.com", "--client", "8.8.8.8", "-c", "bad.yaml"]) == PROBLEMS
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "10 problems" in shown.err.splitlines()[-1]


def test_check_as_json_has_every_complaint_and_the_summary(config: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run(["check", "-c", str(config), "--json"]) == FINE
    good = json.loads(capsys.readouterr().out)
    assert good["summary"].startswith("2 zones")
    (tmp_path / "bad.yaml").write_text(TEN_MISTAKES)
    assert run(["check", "-c", "bad.yaml", "--json"]) == PROBLEMS
    bad = json.loads(capsys.readouterr().out)
    assert bad["summary"] is None
    assert sum(complaint["severity"] == "error" for complaint in bad["complaints"]) == 10
    assert {"severity", "place", "path", "text"} == bad["complaints"][0].keys()
    assert bad["complaints"][0]["place"]["file"] == "bad.yaml"


@pytest.mark.parametrize("octets", [b"", b"no database", None])
def test_a_database_that_cannot_be_used_is_one_line(config: Path, capsys: Captured, octets: bytes | None) -> None:
    database = config.parent / "world.mmdb"
    database.unlink()
    if octets is not None:
        database.write_bytes(octets)
    for command in (["check"], ["locate", "8.8.8.8"], ["geoip", "status"]):
        assert run([*command, "-c", str(config)]) == PROBLEMS
        shown = capsys.readouterr()
        lines = [line for line in (shown.out + shown.err).splitlines() if "world.mmdb" in line]
        assert len(lines) == 1
        assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", [["check"], ["explain", "a.example.com", "--client", "8.8.8.8"], ["locate", "8.8.8.8"]])
def test_a_missing_configuration_says_where_one_is_looked_for(command: list[str], capsys: Captured) -> None:
    assert run(command) == PROBLEMS
    shown = capsys.readouterr()
    assert "GEODNS_CONFIG" in shown.out + shown.err


def test_the_configuration_is_found_by_the_environment(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("GEODNS_CONFIG", str(config))
    assert run(["locate", "8.8.8.8"]) == FINE
    assert capsys.readouterr().out.startswith("place     NA, US, 38.90 -77.00\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "www.example.com"],
        ["explain", "www.example.com", "--client", "1.2.3"],
        ["explain", "www.example.com", "NOTYPE", "--client", "1.2.3.4"],
        ["explain", "www.example.com", "--client", "1.2.3.4", "--draw", "x"],
        ["explain", "www.example.com", "--client", "1.2.3.4", "--draw", "-1"],
        ["explain", "a..b", "--client", "1.2.3.4"],
        ["locate", "here"],
        ["locate"],
        ["check", "--bogus"],
        ["bogus"],
        ["config"],
        [],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: Captured) -> None:
    assert run(arguments) == USAGE
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert shown.err or shown.out


def test_explain_reads_from_the_name_to_the_reply(config: Path, capsys: Captured) -> None:
    asked = ["explain", "www.example.com", "--client", "64.9.9.0/24", "--peer", "192.0.2.1", "--draw", "0x5"]
    assert run([*asked, "-c", str(config)]) == FINE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "www.example.com. A, client subnet 64.9.9.0/24, asked by 192.0.2.1"
    assert lines[-1] == "answer    www.example.com. 60 IN A 192.0.2.10"


def test_explain_as_json_has_the_same_facts(config: Path, capsys: Captured) -> None:
    asked = ["explain", "www.example.com", "AAAA", "--client", "64.9.9.0/24", "--peer", "192.0.2.1", "--json"]
    assert run([*asked, "-c", str(config)]) == FINE
    told = json.loads(capsys.readouterr().out)
    assert told["reply"]["answer"] == ["www.example.com. 60 IN AAAA 2001:db8:a::10"]
    decision = told["hops"][0]["decision"]
    assert [step["datacenter"] for step in decision["steps"]] == list(decision["order"])
    assert decision["candidates"][0]["first"] == 1.0


def test_locate_as_json_has_the_same_facts(config: Path, capsys: Captured) -> None:
    assert run(["locate", "80.7.1.2", "--json", "-c", str(config)]) == FINE
    told = json.loads(capsys.readouterr().out)
    assert told["located"]["country"] == "DE"
    assert {view["rule"].split(",")[0] for view in told["views"] if view["map"] == "world"} == {
        "rule 1 (network 80.7.0.0/16 2a00:7::/32)"
    }


def test_diff_tells_what_moves(config: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run(["diff", str(config), str(config)]) == FINE
    same = capsys.readouterr().out.splitlines()
    assert len(same) == 8
    assert all(line.endswith("  nothing moves") for line in same)
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("{country: [DE], order: [{nyc: 2, sin: 1}, ams]}", "{country: [DE], order: [ams]}"))
    assert run(["diff", str(config), str(other)]) == FINE
    shown = capsys.readouterr().out
    assert "nyc -> ams" in shown
    assert "countries: DE " in shown
    assert run(["diff", str(config), str(other), "--json"]) == FINE
    found = json.loads(capsys.readouterr().out)
    www = next(service for service in found["services"] if service["service"] == "www")
    # 80.0.0.0/8 without the /16 of the first rule, out of all that the world places
    assert www["share"] == pytest.approx((2**24 - 2**16) / www["placed"])
    assert {(move["source"], move["target"]) for move in www["moves"]} == {("nyc", "ams"), ("sin", "ams")}
    assert found["worst"] == max(service["share"] for service in found["services"])


def test_the_schema_is_json(capsys: Captured) -> None:
    assert run(["config", "schema"]) == FINE
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org/")


def test_geoip_status_without_configuration_speaks_of_the_packaged_file(capsys: Captured) -> None:
    assert run(["geoip", "status"]) == FINE
    lines = capsys.readouterr().out.splitlines()
    assert "(packaged)" in lines[1]
    assert lines[-1] == str(notice())
    assert "IP Geolocation by DB-IP" in lines[-1]


def test_geoip_status_of_other_files_owes_no_notice(config: Path, capsys: Captured) -> None:
    assert run(["geoip", "status", "-c", str(config), "--json"]) == FINE
    found = json.loads(capsys.readouterr().out)
    assert found["notice"] is None
    assert [file["kind"] for file in found["files"]] == ["Test-City"]
    assert found["files"][0]["built"] == "2026-01-01"


def test_only_a_mistake_of_ours_shows_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def fail(_: Path | None) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr(cli, "find_complaints", fail)
    assert run(["check"]) == PROBLEMS
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "please report it" in shown.splitlines()[-1]


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupt(_: Path | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find_complaints", interrupt)
    assert run(["check"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_goes_away_is_told_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        arguments = [sys.executable, "-m", "geodns", "config", "schema"]
        ended = subprocess.run(arguments, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (PROBLEMS, "")


ASKING = ("status", "pools", "drain", "undrain", "force", "overrides", "reload")


@pytest.mark.parametrize("command", ["serve", "check", "explain", "locate", "diff", *ASKING])
def test_every_command_explains_its_options(command: str, capsys: Captured) -> None:
    assert run([command, "--help"]) == FINE
    assert capsys.readouterr().out.startswith(f"Usage: geodns {command} ")


def test_the_reference_names_every_command_and_option(capsys: Captured) -> None:
    reference = (Path(__file__).parent.parent / "docs/reference/command-line.md").read_text()
    for command in ("serve", "check", "explain", "locate", "diff", *ASKING, "config schema", "geoip status"):
        assert f"\n## {command}\n" in reference
        assert run([*command.split(), "--help"]) == FINE
        shown = capsys.readouterr().out
        options = {word.rstrip(",:;.") for word in shown.split() if word.startswith("--")} - {"--help"}
        assert all(option in reference for option in options), command
