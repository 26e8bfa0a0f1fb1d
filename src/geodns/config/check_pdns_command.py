"""What `pipe-command` and `remote-connection-string` name: the shim with its arguments, and the socket of the daemon.

Knows that PowerDNS splits a command at single spaces, with no shell, no quotes and no search in PATH. Knows nothing of the
other settings (`check_powerdns`). Looks at files of this machine, and changes none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Complaint, Severity
from .model_server import Server
from .pdns_conf import Setting

LONGEST_SOCKET = 107  # octets: sun_path of Linux, less its final zero
PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108  (named to be warned of)
SHELL = re.compile(r"[$`|<>&;*?~]")
NO_START = "PowerDNS does not start"
SHIM = "/opt/geodns/bin/geodns pipe --socket /run/geodns/backend.sock"
OPTIONS = ("--socket", "--config", "-c")


@dataclass(frozen=True, slots=True)
class Beside:
    """The geodns that stands behind: its configuration and the `server` in it; None for what is not known."""

    config: Path | None = None
    server: Server | None = None


def tell(severity: Severity, setting: Setting, text: str, instead: str) -> Complaint:
    """``pdns.conf:7: warning: cache-ttl: is 20: ...; write cache-ttl=0``; a default is said to be one."""
    value = (setting.value or "nothing") + ("" if setting.is_written else " by default")
    advice = f"; write {setting.name}={instead}" if instead else ""
    return Complaint(severity, setting.place, setting.name, f"is {value}: {text}{advice}")


def wrong(setting: Setting, text: str, instead: str = "") -> Complaint:
    """What PowerDNS does not start with, or never answers from geodns with; *instead* is a value that is right."""
    return tell(Severity.ERROR, setting, text, instead)


def risky(setting: Setting, text: str, instead: str = "") -> Complaint:
    """What PowerDNS serves, but not as meant."""
    return tell(Severity.WARNING, setting, text, instead)


def check_command(setting: Setting, beside: Beside) -> Iterator[Complaint]:
    """`pipe-command`: is it a shim of ours, written so that PowerDNS can start it?"""
    if not setting.value.strip():
        yield wrong(setting, NO_START, SHIM)
        return
    misread = list(check_words(setting))
    yield from misread
    words = setting.value.split(" ")
    if misread:  # what follows would be about other words than those that were meant
        return
    if words[0].startswith("/"):
        yield from check_program(setting, Path(words[0]), words)
    else:
        yield wrong(setting, f"{NO_START}, for {words[0]} is not looked for in PATH; write where it is, from / on")
    if is_shim(words):
        yield from check_arguments(setting, words[words.index("pipe") + 1 :], beside)


def check_words(setting: Setting) -> Iterator[Complaint]:
    """What a shell would understand, and PowerDNS does not."""
    if "'" in setting.value or '"' in setting.value:
        yield wrong(setting, "quotes reach the command as they stand, PowerDNS splits at every space; leave them out")
    if "  " in setting.value:
        yield wrong(setting, "each space ends an argument, so two in a row make an empty one; write one")
    if "\t" in setting.value:
        yield wrong(setting, "a TAB does not end an argument, only a space does")
    if (found := SHELL.search(setting.value)) is not None:
        yield wrong(setting, f"there is no shell that {found[0]} would mean something to")


def check_program(setting: Setting, program: Path, words: list[str]) -> Iterator[Complaint]:
    """The first word: a program that is there, and geodns."""
    try:
        mode = program.stat().st_mode
    except OSError as error:
        yield wrong(setting, f"{NO_START}, for there is no {program}: {error.strerror}")
        return
    if stat.S_ISSOCK(mode):
        text = "PowerDNS waits for a socket without end, and never connects again after geodns was restarted"
        yield wrong(setting, f"{text}; write geodns pipe --socket {program}, or take the remote backend")
    elif not stat.S_ISREG(mode) or not os.access(program, os.X_OK):
        yield wrong(setting, f"{NO_START}, for {program} cannot be executed")
    elif not is_shim(words):
        yield risky(setting, "is not `geodns pipe`: what is checked here holds for geodns alone")


def is_shim(words: list[str]) -> bool:
    """``/opt/geodns/bin/geodns pipe ...``, or ``/usr/bin/python3 -m geodns pipe ...``."""
    match words:
        case [program, "pipe", *_]:
            return Path(program).name == "geodns"
        case [_, "-m", "geodns", "pipe", *_]:
            return True
    return False


def check_arguments(setting: Setting, words: list[str], beside: Beside) -> Iterator[Complaint]:
    """What follows ``geodns pipe``."""
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            yield wrong(setting, f"geodns pipe knows no {word}")
            continue
        given["--config" if name == "-c" else name] = value if equals else next(rest, "")
    if len(given) != 1:
        yield wrong(setting, "geodns pipe takes one of --socket PATH and --config FILE")
    for name, value in given.items():
        if not value.startswith("/"):
            yield wrong(setting, f"{name} {value}: the path must begin with /, PowerDNS runs in a folder of its own")
        elif name == "--socket":
            yield from check_socket(setting, value, beside)
        elif beside.config is not None and os.path.realpath(value) != os.path.realpath(beside.config):
            yield risky(setting, f"--config {value} is not the configuration that is checked, {beside.config}")


def check_socket(setting: Setting, path: str, beside: Beside) -> Iterator[Complaint]:
    """The path of the daemon's socket: one that can be, that PowerDNS can see, and that the daemon opens."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        yield wrong(setting, f"{path}: the path of a socket has at most {LONGEST_SOCKET} octets")
    if any(Path(path).is_relative_to(folder) for folder in PRIVATE):
        yield risky(
            setting, f"{path}: as a service PowerDNS has a /tmp of its own (PrivateTmp) and will not find it; take /run"
        )
    if beside.server is None:
        return
    if beside.server.backend is None:
        yield wrong(setting, f"the daemon opens no such socket; write server.backend: {path} in {beside.config}")
    elif os.path.realpath(beside.server.backend.path) != os.path.realpath(path):
        yield wrong(setting, f"the daemon's socket is {beside.server.backend.path}, as server.backend.path says")
