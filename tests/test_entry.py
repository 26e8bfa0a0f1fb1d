"""The console script: what it starts, and that starting the daemon costs no parser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geodns import __version__, engine
from geodns.entry import main, parse_pipe, parse_serve


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"geodns {__version__} ({engine.name()})\n"


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["serve"], None),
        (["serve", "-c", "a.yaml"], Path("a.yaml")),
        (["serve", "--config", "a.yaml"], Path("a.yaml")),
        (["serve", "--config=a.yaml"], Path("a.yaml")),
    ],
)
def test_a_plain_serve_needs_no_parser(arguments: list[str], path: Path | None) -> None:
    assert parse_serve(arguments) == (True, path)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["serve", "--help"],
        ["serve", "-c"],
        ["serve", "-c", "-x"],
        ["serve", "--config="],
        ["serve", "-c", "a.yaml", "more"],
        ["serve", "a.yaml"],
        ["-c", "a.yaml", "serve"],
    ],
)
def test_every_other_command_line_goes_to_the_parser(arguments: list[str]) -> None:
    assert parse_serve(arguments) == (False, None)


@pytest.mark.parametrize(
    ("arguments", "socket", "config"),
    [
        (["pipe", "--socket", "/run/geodns/backend.sock"], "/run/geodns/backend.sock", None),
        (["pipe", "--socket=b.sock"], "b.sock", None),
        (["pipe", "-c", "a.yaml"], None, "a.yaml"),
        (["pipe", "--config", "a.yaml"], None, "a.yaml"),
        (["pipe", "--config=a.yaml"], None, "a.yaml"),
    ],
)
def test_a_plain_shim_needs_no_parser(arguments: list[str], socket: str | None, config: str | None) -> None:
    assert parse_pipe(arguments) == (True, socket, config)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["pipe"],
        ["pipe", "--help"],
        ["pipe", "--socket"],
        ["pipe", "--socket="],
        ["pipe", "--socket", ""],
        ["pipe", "--socket", "--config"],
        ["pipe", "-c", "-x"],
        ["pipe", "--config="],
        ["pipe", "--socket", "b.sock", "--config", "a.yaml"],
        ["pipe", "-c", "a.yaml", ""],
    ],
)
def test_every_other_shim_is_the_parsers_to_explain(arguments: list[str]) -> None:
    assert parse_pipe(arguments) == (False, None, None)


def test_the_daemon_starts_without_the_parser_of_commands() -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import sys, geodns.entry, geodns.daemon; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"typer", "rich", "click", "dns", "geoip2", "geodns.cli"} & set(seen)


def test_the_module_is_the_same_program() -> None:
    seen = subprocess.run([sys.executable, "-m", "geodns", "--version"], check=True, capture_output=True, text=True)
    assert seen.stdout == f"geodns {__version__} ({engine.name()})\n"
