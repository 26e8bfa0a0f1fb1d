"""The console script: what it starts, and that starting the daemon costs no parser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geodns import __version__
from geodns.entry import main, parse_serve


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"geodns {__version__}\n"


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
    assert seen.stdout == f"geodns {__version__}\n"
