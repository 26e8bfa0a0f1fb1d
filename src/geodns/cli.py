"""The command line: one thin function for each command.

Knows options, exit statuses and where lines go: what was asked for to standard output, complaints about it to standard
error. Knows nothing of how anything is found out (`explain`, `locate`, `compiler`) or how it reads (`present`).
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits
from typing import Annotated, Any, TypeVar

import typer

from . import __version__
from .errors import Complaint, ConfigError, DatabaseError, GeodnsError, Place, Severity
from .jsonform import to_json
from .present import count_complaints, show_comparison, show_databases, show_explanation, show_location

T = TypeVar("T")

FINE, PROBLEMS, USAGE, UNREACHABLE = range(4)  # exit statuses
INTERRUPTED = 130  # what a shell makes of SIGINT

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

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration; else $GEODNS_CONFIG, ./geodns.yaml, /etc/geodns/geodns.yaml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")]


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
        return PROBLEMS
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


def show(facts: Any, lines: Callable[[Any], Iterable[str]], as_json: bool) -> None:
    """*facts* as JSON, or as *lines* puts them."""
    if as_json:
        print(to_json(facts))
    else:
        for line in lines(facts):
            print(line)


def or_usage(parse: Callable[..., T], *arguments: object) -> T:
    """What *parse* makes of *arguments*; its ValueError is wrong usage."""
    try:
        return parse(*arguments)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """geodns: the address of the nearest healthy datacenter, and why."""
    if version:
        print(f"geodns {__version__}")
        raise typer.Exit(FINE)


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Answer queries by UDP and TCP until SIGTERM; SIGHUP reads the configuration again."""
    from .daemon import serve as serve_until_told  # noqa: PLC0415  (each command imports what it needs)

    raise typer.Exit(serve_until_told(config))


@app.command()
def check(
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell every mistake of a configuration, and what it would serve."""
    complaints, summary = find_complaints(config)
    if as_json:
        show({"complaints": complaints, "summary": summary}, list, as_json)
    else:
        end = "--strict counts warnings as problems" if strict and summary is not None else None
        show_complaints(complaints, sys.stdout.write, end)
        if summary is not None:
            print(summary)
    if summary is None or (strict and complaints):
        raise typer.Exit(PROBLEMS)


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
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why a client gets the answer that it gets, step by step."""
    from . import explain as explaining  # noqa: PLC0415
    from . import locate as locating  # noqa: PLC0415

    chance = randbits(64) if draw is None else or_usage(parse_draw, draw)
    question = or_usage(explaining.parse_question, name, rtype, client, peer, chance)
    show(explaining.explain(locating.open_scene(config), question), show_explanation, as_json)


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
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where an address is, who says so, and which datacenters are near."""
    from . import locate as locating  # noqa: PLC0415

    place = or_usage(ip_address, address)
    show(locating.locate(locating.open_scene(config), place), show_location, as_json)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A configuration.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """Tell what share of the address space, and which countries, would change datacenter."""
    from .compiler.diff import compare_maps  # noqa: PLC0415
    from .locate import open_side  # noqa: PLC0415

    show(compare_maps(open_side(old), open_side(new)), show_comparison, as_json)


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
