"""The course of a scenario: what probes found out, what operators forced, and the seconds that passed.

Knows the roster, and clocks of the scenario's own: nothing waits. Knows nothing of answers, nor of how steps are written in
a file (`tests.scenario`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import cast

from tests.replies import Surprise

from geodns.compiler.build import Built
from geodns.config.scalars import parse_seconds
from geodns.health.overrides import KINDS, Kind, Override
from geodns.health.roster import Moment, Roster
from geodns.health.state import Health, Outcome, Verdict
from geodns.health.targets import build_targets

BEGIN = Moment(1000.0, 1_700_000_000.0)
SAID = re.compile(r"(up|down|silent|unknown)(?: weight ([0-9]+))?")
FORCED = re.compile(r"(drain|up|down)(?: for (\S+))?|end")


class Course:
    """Health as it goes by; at first nobody was probed."""

    def __init__(self, built: Built) -> None:
        config = built.loaded.config
        self._plan, self._now = build_targets(config), BEGIN
        self._roster = Roster((), (), self._now)
        self._roster.adopt(self._plan, config.health, self._now)

    def health(self) -> Health:
        """Of all members, as it counts now."""
        return self._roster.health()

    def probe(self, results: Mapping[str, str]) -> None:
        """One result of each check of the members that a ``service/datacenter/member`` pattern matches; later ones win.

        ``up``; ``down``, with a reply that says so; ``silent``: down, for no reply came; ``unknown``: nobody can say; each
        perhaps with ``weight 3`` behind it.
        """
        outcomes: dict[str, Outcome] = {}
        for pattern, text in results.items():
            keys = [
                key
                for member, keys in self._plan.watched.items()
                if fnmatch.fnmatchcase("/".join(member), pattern)
                for key in keys
            ]
            if not keys:
                raise Surprise(f"no member that is watched matches {pattern!r}")
            found = SAID.fullmatch(text)
            if found is None:
                raise Surprise(f"a probe says up, down, silent or unknown, perhaps with a weight; got {text!r}")
            said, weight = found[1], None if found[2] is None else int(found[2])
            verdict = Verdict.DOWN if said == "silent" else Verdict(said)
            outcomes |= {key: Outcome(key, verdict, said != "silent", said, 0.01, weight) for key in keys}
        self._roster.observe(outcomes.values(), self._now)

    def override(self, wanted: Mapping[str, str]) -> None:
        """``{TARGET: drain for 30s}``; ``drain``, ``up`` or ``down``, with or without an end, and ``end``."""
        for target, text in wanted.items():
            found = FORCED.fullmatch(text)
            if found is None:
                raise Surprise(f"an override is drain, up or down, perhaps for a time, or end; got {text!r}")
            if text == "end":
                self._roster.end(target, KINDS, self._now)
                continue
            until = None if found[2] is None else self._now.wall + parse_seconds(found[2])
            self._roster.put(Override(target, cast(Kind, found[1]), "rob", "", self._now.wall, until), self._now)

    def elapse(self, text: str) -> None:
        """Let so much time pass, with a tick each second."""
        left = parse_seconds(text)
        while left > 0:
            step = min(left, 1.0)
            self._now, left = Moment(self._now.mono + step, self._now.wall + step), left - step
            self._roster.tick(self._now)
