"""What the commands share: options, exit statuses, how facts are shown, and which daemons are asked.

Knows where a daemon is looked for, and what it means when one of several does not answer. Knows nothing of what is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import typer

from .client import Client
from .errors import ConfigError, GeodnsError, UnreachableError
from .jsonform import to_json

T = TypeVar("T")

FINE, PROBLEMS, USAGE, UNREACHABLE = range(4)  # exit statuses

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration; else $GEODNS_CONFIG, ./geodns.yaml, /etc/geodns/geodns.yaml.",
    ),
]
DaemonOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The daemon's configuration, which says where its control socket is; else the usual places.",
    ),
]
AloneOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="A configuration to be asked alone, instead of the daemon."),
]
AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="URL", help="A daemon elsewhere, by its server.http; repeat it for several."),
]
TokenOption = Annotated[
    list[Path] | None,
    typer.Option("--token-file", metavar="FILE", help="The token for --at: one for all, or one for each."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")]


class Node(NamedTuple):
    """A daemon that is asked, and what it is called."""

    name: str
    client: Client


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


def open_nodes(config: Path | None, at: Sequence[str] | None, token_files: Sequence[Path] | None) -> list[Node]:
    """The daemons that *at* names, with their tokens; without it the one of this machine. Raises TokenError."""
    if not at:
        if token_files:
            raise typer.BadParameter("--token-file is for --at: on this machine the control socket needs none")
        client = Client.open(find_sockets(config))
        return [Node(client.where, client)]
    files = list(token_files or [])
    if len(files) > 1 and len(files) != len(at):
        raise typer.BadParameter("--token-file: give one for all, or one for each --at")
    each: Iterable[Path | None] = files if len(files) > 1 else repeat(files[0] if files else None, len(at))
    return [Node(url, or_usage(Client.open, None, url, file)) for url, file in zip(at, each, strict=True)]


def find_sockets(config: Path | None) -> Sequence[Path] | None:
    """Where the control socket of the configuration is; None for the usual places, where no configuration says any.

    Raises ConfigError only for a *config* that was given: a daemon must be reachable while its file is being broken.
    """
    from .config.load import find_config, load_server  # noqa: PLC0415  (each command imports what it needs)
    from .config.model_server import find_controls  # noqa: PLC0415

    try:
        server = load_server(find_config(config))
    except ConfigError:
        if config is not None:
            raise
        return None
    return find_controls(server, os.environ)


def ask_nodes(
    nodes: Sequence[Node],
    ask: Callable[[Client], T],
    lines: Callable[[T], Iterable[str]],
    line: Callable[[T], str] | None,
    as_json: bool,
    judge: Callable[[T], int] = lambda _: FINE,
) -> NoReturn:
    """Ask every node, show what each says, and exit with the worst status; *judge* gives that of an answer.

    Of several nodes *line* tells what one says on one line; where it is None, *lines* stand below the node's name. What one
    refuses does not keep the others from being asked.
    """
    if len(nodes) == 1:
        facts = ask(nodes[0].client)
        show(facts, lines, as_json)
        raise typer.Exit(judge(facts))
    worst, found = FINE, dict[str, Any]()
    for node in nodes:
        try:
            facts = ask(node.client)
        except GeodnsError as error:
            worst = max(worst, UNREACHABLE if isinstance(error, UnreachableError) else PROBLEMS)
            found[node.name], said = {"error": str(error)}, [f"{node.name}  failed: {error}"]
        else:
            worst, found[node.name] = max(worst, judge(facts)), facts
            said = [f"{node.name}:", *lines(facts), ""] if line is None else [f"{node.name}  {line(facts)}"]
        if not as_json:
            print("\n".join(said))
    if as_json:
        print(to_json(found))
    raise typer.Exit(worst)
