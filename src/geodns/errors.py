"""Every exception a user or a peer can meet, and the complaint, which is how we talk about configuration.

Knows how a complaint is written on one line. Knows nothing of where it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a complaint means: an error cannot be served, a warning is served as written."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something was written; line and column count from 1, 0 is "the whole file"."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that an operator should look at: where, in which key (may be empty), what."""

    severity: Severity
    place: Place
    path: str
    text: str

    def __str__(self) -> str:
        """``geodns.yaml:41:9: services.www.pools: datacenter "fra" is not defined``; warnings say so."""
        label = "warning: " if self.severity is Severity.WARNING else ""
        key = f"{self.path}: " if self.path else ""
        return f"{self.place}: {label}{key}{self.text}"


class GeodnsError(Exception):
    """Base of all that geodns raises on purpose; its text is one line fit for an operator."""


class ConfigError(GeodnsError):
    """The configuration cannot be served. Carries every complaint found, warnings included."""

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        super().__init__("\n".join(map(str, complaints)))
        self.complaints = complaints


class DatabaseError(GeodnsError):
    """A GeoIP database that cannot be used; the text begins with the file's name."""


class ImageError(GeodnsError):
    """A block or image file that is damaged, truncated, of another version or built on another naming."""


class StartError(GeodnsError):
    """The daemon cannot start: port in use, no permission, unknown user, state locked by another."""


class TokenError(StartError):
    """A file of the API's token that cannot be used; the text begins with its name."""


class ControlError(GeodnsError):
    """What was asked of a running daemon cannot be done; *status* is HTTP's word for why: 400, 404, 409 ..."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class UnreachableError(GeodnsError):
    """No daemon answers; the text says where it was looked for."""


class WireError(GeodnsError):
    """A message that breaks the rules of DNS; raised in ``wire/``, turned into an rcode by ``answer``."""
