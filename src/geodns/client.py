"""The client of a daemon's API: over its control socket, or by HTTP to one elsewhere.

Knows where a daemon can be, HTTP, and the two ways in which it can fail: nobody answers, or the answer is no. Knows nothing
of what the operations mean, and needs the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from .errors import ControlError, UnreachableError
from .tokens import read_token

USUAL = (Path("/run/geodns/control.sock"), Path("/var/lib/geodns/control.sock"))
API = "/api/v1/"
CONNECT = 3.0  # seconds until a connection stands
PATIENCE = 30.0  # seconds without an octet, once it stands
RELOAD_PATIENCE = 900.0  # the same for what compiles a configuration
SLOW = frozenset({"reload"})
MOST = 1 << 28  # octets of a reply: a status with 100,000 members is a quarter of that


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


@dataclass(frozen=True, slots=True)
class Client:
    """One daemon, wherever it is. Nothing is kept open between two requests."""

    sockets: tuple[Path, ...]  # tried one after the other; empty where there is a URL
    url: SplitResult | None
    token: str | None = field(repr=False)

    @classmethod
    def open(
        cls, control: Path | Sequence[Path] | None = None, at: str | None = None, token_file: Path | None = None
    ) -> Client:
        """The daemon *at* a URL or the path of a socket; without it, the one behind *control* (None: the usual places).

        Nothing is connected yet. Raises ValueError for an *at* that is neither, TokenError for *token_file*.
        """
        token = None if token_file is None else read_token(token_file).text
        if at is not None and at.startswith("/"):
            return cls((Path(at),), None, None)
        if at is not None:
            return cls((), parse_url(at), token)
        if control is None:
            runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
            control = ([Path(runtime) / "control.sock"] if runtime else []) + list(USUAL)
        return cls((control,) if isinstance(control, Path) else tuple(control), None, None)

    @property
    def where(self) -> str:
        """What this daemon is called in a line about it."""
        return self.url.geturl() if self.url is not None else " or ".join(map(str, self.sockets))

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> Any:
        """What the API says at *path* (``status``), from JSON; parameters that are None are left out.

        Raises UnreachableError when nobody answers, ControlError when the answer is no.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._ask("GET", API + path + (f"?{urlencode(given)}" if given else ""), None, PATIENCE)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the API says to *body* at *path* (``drain``), from JSON. Raises as `get`."""
        patience = RELOAD_PATIENCE if path in SLOW else PATIENCE
        return self._ask("POST", API + path, json.dumps(body).encode(), patience)

    def _ask(self, method: str, target: str, body: bytes | None, patience: float) -> Any:
        tried = []
        for name, connection in self._connections():
            try:
                connection.connect()
            except OSError as error:
                tried.append(f"{name}: {_tell(error)}")
                continue
            try:
                return self._exchange(name, connection, (method, target, body), patience)
            finally:
                connection.close()
        raise UnreachableError(f"no daemon answers: {'; '.join(tried) or 'the control socket is switched off'}")

    def _connections(self) -> Iterator[tuple[str, http.client.HTTPConnection]]:
        """What may be tried, and how it is called in an error."""
        for path in self.sockets:
            yield str(path), SocketConnection(path, CONNECT)
        if self.url is not None:
            kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
            yield self.url.geturl(), kind(self.url.hostname or "", self.url.port, timeout=CONNECT)

    def _exchange(
        self, name: str, connection: http.client.HTTPConnection, request: tuple[str, str, bytes | None], patience: float
    ) -> Any:
        """One request and its reply, over a connection that stands."""
        method, target, body = request
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        prefix = self.url.path.rstrip("/") if self.url is not None else ""
        try:
            connection.sock.settimeout(patience)
            connection.request(method, prefix + target, body, headers)
            with connection.getresponse() as reply:
                octets = reply.read(MOST + 1)
        except TimeoutError as error:
            raise UnreachableError(f"{name}: connected, but said nothing for {patience:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{name}: connected, but no whole reply came: {_tell(error)}") from error
        return read_reply(name, reply.status, octets)


def read_reply(name: str, status: int, octets: bytes) -> Any:
    """What a reply of the daemon *name* says. Raises ControlError for errors of the API, UnreachableError for another's."""
    try:
        said = json.loads(octets) if len(octets) <= MOST else None
    except (ValueError, RecursionError):
        said = None
    if said is not None and 200 <= status < 300:
        return said
    if isinstance(said, dict) and isinstance(said.get("error"), str):
        raise ControlError(status, said["error"])
    raise UnreachableError(f"{name}: something answers (status {status}), but not with the API of geodns")


def parse_url(text: str) -> SplitResult:
    """An address like ``http://192.0.2.1:5301``. Raises ValueError, in one line."""
    wanted = f"must be a URL like http://192.0.2.1:5301 or the path of a socket, got {text!r}"
    try:
        url = urlsplit(text)
        fine = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        fine = False
    if not fine or url.query or url.fragment or url.username is not None or not text.isprintable() or " " in text:
        raise ValueError(wanted)
    return url._replace(path=quote(url.path, safe="/%"))


def _tell(error: BaseException) -> str:
    """Why, in a few words, with what helps."""
    if isinstance(error, TimeoutError):
        return f"no reply within {CONNECT:g} s"
    if isinstance(error, http.client.HTTPException):
        return f"that is no HTTP ({error!r:.80})"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        return f"{text} (the control socket is for the daemon's user and root)"
    if isinstance(error, ConnectionRefusedError):
        return f"{text} (is the daemon running?)"
    return text[:1].lower() + text[1:]
