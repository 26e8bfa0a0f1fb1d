"""The commands that ask a daemon, through a real control socket and HTTP: what is done, shown, and with which status."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from geodns import cli_daemon
from geodns.cli import run
from geodns.cli_options import FINE, PROBLEMS, UNREACHABLE, USAGE
from geodns.compiler.diff import Comparison

from .desks import CHECKED, FakeDesk
from .server.operations import FakeOperations
from .server.served import Served, serving

TOKEN = "a-token-that-is-long-enough"
CONTROLLED = CHECKED.replace("server: {", "server: {control: control.sock, ")
DEAD = "http://127.0.0.1:1"  # nobody listens there
Captured = pytest.CaptureFixture[str]


class Node(NamedTuple):
    desk: FakeDesk
    served: Served

    @property
    def url(self) -> str:
        return self.served.url


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Daemons, images and defaults of this machine stay out of it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("GEODNS_CONFIG", "SUDO_USER", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(empty))
    monkeypatch.setattr("geodns.client.USUAL", ())
    monkeypatch.setattr("geodns.config.model_server.USUAL_RUNTIME", empty)
    monkeypatch.setattr("geodns.config.model_server.USUAL_STATE", empty)
    monkeypatch.setenv("LOGNAME", "rob")
    monkeypatch.chdir(empty)
    return tmp_path


def make_node(folder: Path) -> Iterator[Node]:
    folder.mkdir(exist_ok=True)
    desk = FakeDesk(folder, CONTROLLED)
    desk.probe()
    with serving(folder, TOKEN, operations=cast(FakeOperations, desk.control)) as served:
        yield Node(desk, served)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield from make_node(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Node]:
    yield from make_node(tmp_path / "two")


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return str(path)


def held(node: Node) -> list[tuple[str, str, str, str]]:
    return [(one.kind, one.target, one.owner, one.reason) for one in node.desk.roster.overrides]


def test_a_drain_from_its_begin_to_its_end(node: Node, capsys: Captured) -> None:
    config = ["-c", str(node.desk.path)]
    assert run(["drain", "ams", "--for", "30m", "--reason", "switch maintenance", *config]) == FINE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("drain ams: 14 members of 8 pools, ends in 30m, at 20")
    assert "pools     www/ams      up -> drained" in lines
    assert lines[-1].startswith("          ") or lines[-1].startswith("WARNING   ")
    assert held(node) == [("drain", "ams", "rob", "switch maintenance")]
    (override,) = node.desk.roster.overrides
    assert override.until == pytest.approx(time.time() + 1800, abs=60)

    assert run(["status", *config]) == FINE
    shown = capsys.readouterr().out
    assert "www/ams             drained  0 of 3  60 s" in shown
    assert "by rob: switch maintenance" in shown
    assert run(["overrides", *config]) == FINE
    assert capsys.readouterr().out.startswith("drain ams: 14 members, ends in 29m 5")
    assert run(["pools", "www/ams", *config]) == FINE
    assert "192.0.2.10  up, drained by ams, weight 3" in capsys.readouterr().out

    assert run(["undrain", "ams", *config]) == FINE
    assert capsys.readouterr().out.startswith("drain ams ended: 14 members of 8 pools\n")
    assert held(node) == []
    assert run(["overrides", *config]) == FINE
    assert capsys.readouterr().out == "no overrides\n"


def test_force_and_clear(node: Node, capsys: Captured) -> None:
    config = ["-c", str(node.desk.path)]
    assert run(["force", "down", "www/nyc", *config]) == FINE
    assert "WARNING   no --for: lasts until `geodns force clear www/nyc`" in capsys.readouterr().out
    assert held(node) == [("down", "www/nyc", "rob", "")]
    assert run(["force", "up", "www/nyc", "--dry-run", *config]) == FINE
    assert "dry run: nothing was changed" in capsys.readouterr().out
    assert held(node) == [("down", "www/nyc", "rob", "")]
    assert run(["force", "clear", "www/nyc", *config]) == FINE
    assert capsys.readouterr().out.startswith("force down www/nyc ended: 2 members of 1 pool\n")
    assert held(node) == []


def test_json_has_the_same_facts(node: Node, capsys: Captured) -> None:
    config = ["-c", str(node.desk.path), "--json"]
    assert run(["drain", "www/ams", "--dry-run", *config]) == FINE
    forecast = json.loads(capsys.readouterr().out)
    assert (forecast["override"]["target"], forecast["applied"]) == ("www/ams", False)
    assert forecast["pools"] == [{"service": "www", "datacenter": "ams", "before": "up", "after": "drained"}]
    assert run(["status", *config]) == FINE
    status = json.loads(capsys.readouterr().out)
    assert status["pid"] == 4711
    assert run(["pools", *config]) == FINE
    assert [pool["service"] for pool in json.loads(capsys.readouterr().out)] == [p["service"] for p in status["pools"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["drain"],
        ["drain", "ams", "--for", "30"],
        ["drain", "ams", "--for", "soon"],
        ["force", "sideways", "ams"],
        ["force", "clear", "ams", "--for", "1h"],
        ["force", "clear", "ams", "--dry-run"],
        ["reload", "--max-move", "0.1"],
        ["reload", "--max-move", "101%"],
        ["status", "--token-file", "x"],
        ["status", "--at", "ftp://x"],
        ["explain", "www.example.com", "--client", "1.2.3.4", "--at", DEAD, "-c", "x.yaml"],
        ["status", "--at", DEAD, "--at", DEAD, "--at", DEAD, "--token-file", "x", "--token-file", "y"],
    ],
)
def test_wrong_usage_is_status_2_and_asks_nobody(arguments: list[str], capsys: Captured) -> None:
    assert run(arguments) == USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_an_unreachable_daemon_is_status_3_and_says_where_it_was_looked_for(tmp_path: Path, capsys: Captured) -> None:
    for arguments in (["status"], ["drain", "ams"], ["reload"], ["pools", "--at", DEAD], ["diff", "x.yaml"]):
        assert run(arguments) == UNREACHABLE
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "no daemon answers" in shown.err
        assert (DEAD if "--at" in arguments else str(tmp_path / "empty" / "control.sock")) in shown.err


def test_what_the_daemon_refuses_is_one_line_and_status_1(node: Node, capsys: Captured) -> None:
    config = ["-c", str(node.desk.path)]
    assert run(["drain", "amx", *config]) == PROBLEMS
    assert capsys.readouterr().err == 'geodns: no member matches "amx", did you mean "ams"?\n'
    assert run(["undrain", "ams", *config]) == PROBLEMS
    assert run(["pools", "nowhere", *config]) == PROBLEMS
    assert run(["drain", "ams", "--reason", "x" * 201, *config]) == PROBLEMS
    assert "Traceback" not in capsys.readouterr().err


def test_a_daemon_is_reached_while_its_configuration_is_broken(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(node.served.path.parent))
    monkeypatch.setenv("GEODNS_CONFIG", str(tmp_path / "broken.yaml"))
    (tmp_path / "broken.yaml").write_text("server: {listen: [}\n")
    assert run(["drain", "ams"]) == FINE
    assert run(["drain", "ams", "-c", str(tmp_path / "broken.yaml")]) == PROBLEMS
    assert "broken.yaml:1:" in capsys.readouterr().err


def test_over_http_writing_needs_the_token_and_names_the_machine(node: Node, token: str, capsys: Captured) -> None:
    assert run(["drain", "ams", "--at", node.url]) == PROBLEMS
    assert "token" in capsys.readouterr().err
    assert held(node) == []
    assert run(["drain", "ams", "--at", node.url, "--token-file", token]) == FINE
    ((kind, target, owner, _),) = held(node)
    assert (kind, target) == ("drain", "ams")
    assert owner == f"rob@{os.uname().nodename} at 127.0.0.1"
    assert run(["status", "--at", node.url]) == FINE  # reading from loopback does not
    assert "by rob@" in capsys.readouterr().out


def test_several_nodes_have_a_line_each_and_the_worst_status(
    node: Node, other: Node, token: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SUDO_USER", "eve")
    at = ["--at", node.url, "--at", DEAD, "--at", other.url, "--token-file", token]
    assert run(["drain", "www/nyc", "--for", "1h", *at]) == UNREACHABLE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [node.url, DEAD, other.url]
    assert lines[0].split("  ")[1].startswith("drain www/nyc: 2 members of 1 pool, ends in 1h")
    assert lines[1].split("  ")[1].startswith("failed: no daemon answers")
    assert [[one[:2] for one in held(one)] for one in (node, other)] == [[("drain", "www/nyc")]] * 2
    assert held(other)[0][2].startswith("eve@")

    other.desk.roster.end("www/nyc", ("drain",), other.desk.moment())
    pair = ["--at", node.url, "--at", other.url, "--token-file", token, "--token-file", token]
    assert run(["undrain", "www/nyc", *pair, "--json"]) == PROBLEMS
    told = json.loads(capsys.readouterr().out)
    assert told[node.url]["applied"] is True
    assert told[other.url] == {"error": '"www/nyc" is not drained by an override: nothing is'}

    assert run(["undrain", "www/nyc", "--at", DEAD, "--at", other.url, "--token-file", token]) == UNREACHABLE
    assert capsys.readouterr().out.count("failed: ") == 2

    assert run(["status", *pair]) == FINE
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("http")] == [f"{node.url}:", f"{other.url}:"]


def test_explain_and_locate_ask_the_daemon_with_its_health(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    asked = ["explain", "www.example.com", "--client", "64.9.9.0/24", "--peer", "192.0.2.1", "--draw", "0x5"]
    alone = [*asked, "-c", str(node.desk.path)]
    assert run(alone) == FINE
    calm = capsys.readouterr()
    node.desk.probe("192.0.2.10", "192.0.2.11", "2001:db8:a::10")
    monkeypatch.setenv("GEODNS_CONFIG", str(node.desk.path))
    assert run(asked) == FINE
    shown = capsys.readouterr()
    assert (shown.err, calm.err) == ("", "")
    assert calm.out.splitlines()[-1] == "answer    www.example.com. 60 IN A 192.0.2.10"
    assert "dead" in shown.out
    assert "192.0.2.10" not in shown.out.splitlines()[-1]
    assert run(alone) == FINE
    assert capsys.readouterr() == calm
    assert run(["locate", "80.7.1.2", "--at", node.url]) == FINE
    told = capsys.readouterr().out
    assert run(["locate", "80.7.1.2", "-c", str(node.desk.path)]) == FINE
    assert capsys.readouterr().out == told


def test_without_a_daemon_explain_says_that_it_knows_no_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    desk = FakeDesk(tmp_path / "empty", CONTROLLED)
    monkeypatch.setenv("GEODNS_CONFIG", str(desk.path))
    for command in (["explain", "www.example.com", "--client", "64.9.9.9"], ["locate", "64.9.9.9"]):
        assert run(command) == FINE
        shown = capsys.readouterr()
        assert shown.err == "geodns: no daemon answers; this is the configuration alone, with every member up\n"
        assert shown.out
        assert run([*command, "--at", DEAD]) == UNREACHABLE
        assert capsys.readouterr().out == ""


def test_diff_with_one_file_compares_with_the_daemon(node: Node, tmp_path: Path, capsys: Captured) -> None:
    path = node.desk.path
    other = path.parent / "other.yaml"
    other.write_text(CONTROLLED.replace("{country: [DE], order: [{nyc: 2, sin: 1}, ams]}", "{country: [DE], order: [ams]}"))
    assert run(["diff", str(path), str(other)]) == FINE
    files = capsys.readouterr().out
    assert "nyc -> ams" in files
    assert run(["diff", str(other), "-c", str(path)]) == FINE
    assert capsys.readouterr().out == files
    path.write_text(other.read_text())  # what is served stays what it was
    assert run(["diff", str(path), "-c", str(path)]) == FINE
    assert capsys.readouterr().out == files


def test_reload_tells_how_it_went(node: Node, capsys: Captured) -> None:
    config = ["-c", str(node.desk.path)]
    assert run(["reload", *config]) == FINE
    assert capsys.readouterr().out == "1 zone\n"
    assert run(["reload", "--dry-run", "--max-move", "12.5%", *config]) == FINE
    assert node.desk.loads == [(False, None), (True, 0.125)]
    capsys.readouterr()
    lines, end = ('geodns.yaml:9:30: service "wwww" is not defined',), "1 problem; the running configuration is unchanged"
    failed = replace(node.desk.load_report, ok=False, lines=lines, summary=end)
    node.desk.load_report = replace(failed, comparison=Comparison((), (), ()))
    assert run(["reload", *config]) == PROBLEMS
    shown = capsys.readouterr().out.splitlines()
    assert (shown[0], shown[-1]) == (lines[0], end)


@pytest.mark.parametrize("command", ["status", "pools"])
def test_watching_goes_on_until_interrupted_whatever_happens(
    node: Node, command: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The daemon is there, away, and there again; then comes Ctrl-C."""
    looks = list[float]()
    away = node.served.path.with_name("away")

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            node.served.path.rename(away)
        elif len(looks) == 2:
            away.rename(node.served.path)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("geodns.cli_daemon.time.sleep", sleep)
    assert run([command, "--watch", "-c", str(node.desk.path)]) == FINE
    shown = capsys.readouterr()
    assert shown.out.count("www/ams") == 2
    assert shown.err.count("no daemon answers") == 1
    assert looks == [cli_daemon.EVERY] * 3
    assert "\x1b" not in shown.out  # no terminal


def test_the_owner_has_a_name_even_where_the_user_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", fail)
    assert cli_daemon.find_owner(None) == f"uid {os.getuid()}"
    monkeypatch.setenv("SUDO_USER", "eve")
    assert cli_daemon.find_owner(None) == "eve"
