"""What is known of a member's health, without any I/O.

Knows verdicts and overrides-as-values. Knows nothing of probes, clocks or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the checks say. Unknown is answered, and shown as unknown."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A member as the compiler of choices sees it: observation and overrides already combined.

    `until_flip` is interval x results left to flip, in seconds, while a streak lasts; None while there is none.
    """

    verdict: Verdict = Verdict.UP
    drained: bool = False
    until_flip: float | None = None


MemberKey = tuple[str, str, str]  # service, datacenter, member (its text)
Health = Mapping[MemberKey, Condition]  # who is missing is up: no check watches it
