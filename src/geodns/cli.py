"""The command line: one thin function for each command; those that a daemon must be there for are in `cli_daemon`.

Knows options, exit statuses and where lines go: what was asked for to standard output, complaints about it to standard
error. Knows nothing of how anything is found out (`explain`, `locate`, `compiler`) or how it reads (`present`).
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits
from typing import Annotated, TypeVar

import typer

from . import __version__, engine
from .cli_daemon import add_daemon_commands
from .cli_options import (
    FINE,
    PROBLEMS,
    UNREACHABLE,
    AloneOption,
    AtOption,
    ConfigOption,
    DaemonOption,
    JsonOption,
    Node,
    TokenOption,
    ask_nodes,
    open_nodes,
    or_usage,
    show,
)
from .client import Client
from .errors import Complaint, ConfigError, DatabaseError, GeodnsError, Place, Severity, UnreachableError
from .explanation import Explanation, Location
from .jsonread import read_facts
from .present import count_complaints, show_comparison, show_databases, show_explanation, show_location
from .report import Served

T = TypeVar("T")

INTERRUPTED = 130  # what a shell makes of SIGINT
STRICT = "--strict counts warnings as problems"

app = typer.Typer(
    help="geodns: the address of the nearest healthy datacenter, and why.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="About the form of the configuration.", no_args_is_help=True, rich_markup_mode=None)
geoip_app = typer.Typer(help="About the GeoIP databases.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(geoip_app, name="geoip")
add_daemon_commands(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status. Only a mistake of ours shows a traceback."""
    try:
        app(list(arguments), prog_name="geodns")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FINE
    except ConfigError as error:
        show_complaints(error.complaints, sys.stderr.write)
        return PROBLEMS
    except GeodnsError as error:
        print(f"geodns: {error}", file=sys.stderr)
        return UNREACHABLE if isinstance(error, UnreachableError) else PROBLEMS
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        print(f"geodns {__version__}: a mistake of ours, not of yours; please report it with these lines", file=sys.stderr)
        return PROBLEMS
    return FINE


def show_complaints(complaints: Sequence[Complaint], write: Callable[[str], object], end: str | None = None) -> None:
    """A line for each, then how many there are and, after a semicolon, what that means."""
    for complaint in complaints:
        write(f"{complaint}\n")
    if end is None:
        end = "the configuration cannot be served" if any(c.severity is Severity.ERROR for c in complaints) else ""
    if complaints:
        write("; ".join(filter(None, (count_complaints(complaints), end))) + "\n")


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """geodns: the address of the nearest healthy datacenter, and why."""
    if version:
        print(f"geodns {__version__} ({engine.name()})")
        raise typer.Exit(FINE)


@app.command()
def serve(
    config: ConfigOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A broken configuration is not replaced by the last good one.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take over the sockets of the daemon that runs.")] = False,
    backend_only: Annotated[
        bool, typer.Option("--backend-only", help="For PowerDNS alone: no listeners; ends after the last `geodns pipe`.")
    ] = False,
) -> None:
    """Answer queries by UDP and TCP until SIGTERM; SIGHUP reads the configuration again."""
    from .daemon import serve as serve_until_told  # noqa: PLC0415  (each command imports what it needs)

    if backend_only and replace:
        raise typer.BadParameter("--backend-only has no sockets to take over; leave --replace out")
    raise typer.Exit(serve_until_told(config, strict=strict, replace=replace, backend_only=backend_only))


@app.command()
def pipe(
    socket: Annotated[
        str | None, typer.Option("--socket", metavar="PATH", help="The backend socket of a daemon that runs.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("-c", "--config", metavar="FILE", help="Ask, and start if need be, a daemon for this.")
    ] = None,
) -> None:
    """Stand between PowerDNS's pipe backend and the daemon; for pipe-command in pdns.conf."""
    from .pipe import run as run_shim  # noqa: PLC0415

    if bool(socket) == bool(config):
        raise typer.BadParameter("give --socket PATH or --config FILE, one of them")
    raise typer.Exit(run_shim(socket, config))


@app.command()
def check(
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
    powerdns: Annotated[
        Path | None, typer.Option("--powerdns", metavar="FILE", help="A pdns.conf that is to lead to geodns, as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell every mistake of a configuration, and what it would serve."""
    complaints, summary = find_complaints(config)
    if powerdns is not None:
        complaints += find_powerdns_complaints(powerdns, config)
    broken = summary is None or any(complaint.severity is Severity.ERROR for complaint in complaints)
    if as_json:
        show({"complaints": complaints, "summary": summary}, list, as_json)
    else:
        end = None if summary is None else "PowerDNS cannot use it" if broken else STRICT if strict else None
        show_complaints(complaints, sys.stdout.write, end)
        if summary is not None:
            print(summary)
    if broken or (strict and complaints):
        raise typer.Exit(PROBLEMS)


def find_powerdns_complaints(path: Path, config: Path | None) -> tuple[Complaint, ...]:
    """All complaints about a pdns.conf, in front of the configuration that is checked."""
    from .config.check_powerdns import check_powerdns  # noqa: PLC0415
    from .config.load import find_config, load_server  # noqa: PLC0415

    try:
        found = find_config(config)
        return tuple(check_powerdns(path, found, load_server(found)))
    except ConfigError:  # which has been told
        return tuple(check_powerdns(path))


def find_complaints(path: Path | None) -> tuple[tuple[Complaint, ...], str | None]:
    """All complaints about a configuration, and the summary of what it serves: none where it cannot be served."""
    from .compiler.build import build  # noqa: PLC0415
    from .compiler.images import find_images  # noqa: PLC0415
    from .config.load import find_config  # noqa: PLC0415

    try:
        built = build(find_config(path), find_images(None, os.environ))
    except ConfigError as error:
        return error.complaints, None
    except DatabaseError as error:  # its text begins with the file's name
        file, _, text = str(error).partition(": ")
        return (Complaint(Severity.ERROR, Place(file), "", text),), None
    return tuple(built.complaints), built.summary


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name asked; need not end in a dot.")],
    rtype: Annotated[str, typer.Argument(metavar="TYPE", help="A, AAAA, MX ...")] = "A",
    client: Annotated[str | None, typer.Option("--client", metavar="ADDRESS[/BITS]", help="The client subnet.")] = None,
    peer: Annotated[str | None, typer.Option("--peer", metavar="ADDRESS", help="Who asks; else the client.")] = None,
    draw: Annotated[str | None, typer.Option("--draw", metavar="NUMBER", help="The 64 bits of chance.")] = None,
    config: AloneOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why a client gets the answer that it gets, step by step."""
    from . import explain as explaining  # noqa: PLC0415
    from . import locate as locating  # noqa: PLC0415

    chance = randbits(64) if draw is None else or_usage(parse_draw, draw)
    question = or_usage(explaining.parse_question, name, rtype, client, peer, chance)
    asked = {"name": name, "type": rtype, "client": client, "peer": peer, "draw": str(chance)}
    with whoever_is_there(config, at, token_file) as nodes:
        if nodes:
            ask_nodes(nodes, partial(ask_for, Explanation, "explain", asked), show_explanation, None, as_json)
    show(explaining.explain(locating.open_scene(config), question), show_explanation, as_json)


@contextmanager
def whoever_is_there(config: Path | None, at: list[str] | None, token_file: list[Path] | None) -> Iterator[list[Node]]:
    """The daemons to ask, none where *config* is given. Where *at* names none and none answers, that is said."""
    if config is not None and (at or token_file):
        raise typer.BadParameter("-c asks the configuration alone, --at a daemon; give one of them")
    try:
        yield [] if config is not None else open_nodes(None, at, token_file)
    except UnreachableError:
        if at:
            raise
        print("geodns: no daemon answers; this is the configuration alone, with every member up", file=sys.stderr)


def ask_for(kind: type[T], path: str, query: Mapping[str, str | None], client: Client) -> T:
    """What the daemon says at *path*."""
    return read_facts(kind, client.get(path, query))


def parse_draw(text: str) -> int:
    """64 bits, decimal or 0x... Raises ValueError."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise ValueError(f"--draw: {text!r} is not a number of 64 bits")
    return number


@app.command()
def locate(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="IPv4 or IPv6.")],
    config: AloneOption = None,
    at: AtOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where an address is, who says so, and which datacenters are near."""
    from . import locate as locating  # noqa: PLC0415

    place = or_usage(ip_address, address)
    with whoever_is_there(config, at, token_file) as nodes:
        if nodes:
            ask_nodes(nodes, partial(ask_for, Location, "locate", {"address": address}), show_location, None, as_json)
    show(locating.locate(locating.open_scene(config), place), show_location, as_json)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="[OLD]", help="A configuration; else what the daemon serves.")],
    new: Annotated[Path | None, typer.Argument(metavar="NEW", help="Another one.")] = None,
    config: DaemonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what share of the address space, and which countries, would change datacenter."""
    from .compiler.diff import compare_maps  # noqa: PLC0415
    from .locate import open_side  # noqa: PLC0415
    from .served import open_served  # noqa: PLC0415

    if new is None:
        (node,), new = open_nodes(config, None, None), old
        before = open_served(ask_for(Served, "diff", {}, node.client))
    else:
        before = open_side(old)
    show(compare_maps(before, open_side(new)), show_comparison, as_json)


@config_app.command("schema")
def config_schema() -> None:
    """Print a JSON Schema of the configuration file, for editors."""
    from .config.schema import schema  # noqa: PLC0415

    print(json.dumps(schema(), indent=2))


@geoip_app.command("status")
def geoip_status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell which GeoIP databases are in use, how old they are, and whose they are."""
    from .databases import find_databases  # noqa: PLC0415

    show(find_databases(config, time.time()), show_databases, as_json)
