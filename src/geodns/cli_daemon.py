"""The commands that a running daemon carries out: what it says of itself, drains, forced states, reloads.

Knows what is sent and in which words the reply is shown. Knows nothing of what the daemon makes of it (`control`).
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_options import (
    FINE,
    PROBLEMS,
    AtOption,
    DaemonOption,
    JsonOption,
    TokenOption,
    ask_nodes,
    open_nodes,
    or_usage,
)
from .client import Client
from .config.scalars import parse_seconds
from .errors import GeodnsError
from .jsonread import read_facts
from .present_status import show_forecast, show_load, show_overrides, show_pools, show_status, sum_up
from .report import Forecast, OverrideReport, PoolReport, Status

if TYPE_CHECKING:
    from .loading import LoadReport

EVERY = 2.0  # seconds between two looks of --watch
CLEAR = "\x1b[H\x1b[2J"  # to the first line, and everything gone

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="DC, SERVICE/DC, SERVICE/*, ADDRESS or SERVICE/DC/ADDRESS; globs like * are to be quoted.",
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="It ends by itself after 30m, 2h, 1d ...; else somebody must end it."),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everybody who looks sees it.")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Look again every 2 s, until Ctrl-C.")]


class Forced(StrEnum):
    """What `force` does to a member."""

    UP = "up"
    DOWN = "down"
    CLEAR = "clear"


def add_daemon_commands(app: typer.Typer) -> None:
    """Make the functions of this module commands of *app*."""
    for command in (status, pools, overrides, drain, undrain, force, reload):
        app.command()(command)


def status(
    watch: WatchOption = False,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how the daemon is: what it serves, its checks, its pools, what is overridden."""
    nodes = open_nodes(config, at, token_file)
    look(watch, lambda: ask_nodes(nodes, ask_status, show_status, None, as_json))


def ask_status(client: Client) -> Status:
    """All that a daemon says of itself."""
    return read_facts(Status, client.get("status"))


def pools(
    pattern: Annotated[str | None, typer.Argument(metavar="[PATTERN]", help="A TARGET, or a service; else all.")] = None,
    watch: WatchOption = False,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell every member: what its checks saw, what is forced, what counts, since when."""
    nodes = open_nodes(config, at, token_file)

    def ask(client: Client) -> tuple[PoolReport, ...]:
        return read_facts(tuple[PoolReport, ...], client.get("pools", {"pattern": pattern}))

    def lines(found: tuple[PoolReport, ...]) -> Iterator[str]:
        return show_pools(found, time.time())

    look(watch, lambda: ask_nodes(nodes, ask, lines, None, as_json))


def look(watch: bool, once: Callable[[], None]) -> None:
    """Do *once*; with *watch* again and again, on a terminal each time from its first line, until Ctrl-C."""
    while True:
        try:
            once()
        except typer.Exit:
            if not watch:
                raise
        except GeodnsError as error:  # it may come back: a restart is what somebody watches for
            if not watch:
                raise
            print(f"geodns: {error}", file=sys.stderr)
        if not watch:
            return
        try:
            sys.stdout.flush()
            time.sleep(EVERY)
        except KeyboardInterrupt:
            raise typer.Exit(FINE) from None
        print(CLEAR if sys.stdout.isatty() else "\n", end="")


def overrides(
    config: DaemonOption = None, at: AtOption = None, token_file: TokenOption = None, as_json: JsonOption = False
) -> None:
    """List what is drained or forced, by whom, why and until when."""

    def ask(client: Client) -> tuple[OverrideReport, ...]:
        return read_facts(tuple[OverrideReport, ...], client.get("overrides"))

    def lines(found: tuple[OverrideReport, ...]) -> Iterator[str]:
        return show_overrides(found, time.time())

    ask_nodes(open_nodes(config, at, token_file), ask, lines, None, as_json)


def drain(
    target: TargetArgument,
    duration: ForOption = None,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take members out of the answers, and tell who moves where; they are still probed."""
    body = {**override_body(target, duration, reason, at), "dry_run": dry_run}
    change("drain", body, config, at, token_file, as_json)


def undrain(
    target: TargetArgument,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a drain that was begun with the same TARGET; a glob ends all that it matches."""
    change("undrain", {"target": target, "owner": find_owner(at)}, config, at, token_file, as_json)


def force(
    state: Annotated[Forced, typer.Argument(metavar="up|down|clear", help="What the checks are taken to say.")],
    target: TargetArgument,
    duration: ForOption = None,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take members as up or as down, whatever their checks say; or end that."""
    if state is Forced.CLEAR and (duration is not None or reason or dry_run):
        raise typer.BadParameter("clear takes neither --for, --reason nor --dry-run")
    body = {**override_body(target, duration, reason, at), "dry_run": dry_run, "kind": str(state)}
    change("force", body, config, at, token_file, as_json)


def change(
    path: str, body: dict[str, Any], config: Path | None, at: list[str] | None, token_file: list[Path] | None, as_json: bool
) -> None:
    """Post *body* to every daemon, and show what moves."""

    def ask(client: Client) -> Forecast:
        return read_facts(Forecast, client.post(path, body))

    ask_nodes(open_nodes(config, at, token_file), ask, show_forecast, sum_up, as_json)


def override_body(target: str, duration: str | None, reason: str, at: list[str] | None) -> dict[str, Any]:
    """What the API takes for an override."""
    seconds = None if duration is None else or_usage(parse_duration, duration)
    return {"target": target, "duration": seconds, "reason": reason or None, "owner": find_owner(at)}


def parse_duration(text: str) -> float:
    """Seconds of ``30m``, as in the configuration. Raises ValueError."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise ValueError(f"--for {error}") from error


def find_owner(at: list[str] | None) -> str:
    """Who does this: the user, behind sudo too; and from which machine, where the daemon is on another one."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}" if at else user


def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what is wrong, and who would move.")] = False,
    max_move: Annotated[
        str | None, typer.Option("--max-move", metavar="PERCENT", help="Refuse if more moves in any service: 10%.")
    ] = None,
    config: DaemonOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the configuration again; what cannot be served changes nothing."""
    from .loading import LoadReport  # noqa: PLC0415  (only this command needs it)

    body = {"dry_run": dry_run, "max_move": None if max_move is None else or_usage(parse_percent, max_move)}

    def ask(client: Client) -> LoadReport:
        return read_facts(LoadReport, client.post("reload", body))

    def line(report: LoadReport) -> str:
        return report.summary if report.ok else "; ".join((*report.lines[:3], report.summary))

    def judge(report: LoadReport) -> int:
        return FINE if report.ok else PROBLEMS

    ask_nodes(open_nodes(config, at, token_file), ask, show_load, line, as_json, judge)


def parse_percent(text: str) -> float:
    """A share, 0..1, of ``10%``. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text)
    if found is None or float(found[1]) > 100:
        raise ValueError(f"--max-move must be a percentage like 10%, got {text!r}")
    return float(found[1]) / 100
