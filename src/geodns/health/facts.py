"""What is known of a member, in the form that reports have.

Knows how a state reads. Knows nothing of how it came about.
"""

from __future__ import annotations

from typing import NamedTuple

from ..report import ProbeReport
from .state import State, Verdict
from .targets import Target


class MemberFacts(NamedTuple):
    """One member: what was seen, what is forced, what counts."""

    observed: str  # what its checks say together; "none" where it has none
    verdict: str  # what counts
    drain: str  # the target of the override that drains it, or empty
    forced: str  # the target of the override that forces it, or empty
    weight: int | None  # what a file says
    probes: tuple[ProbeReport, ...]


def report_probe(target: Target, state: State) -> ProbeReport:
    """One check of one member."""
    check = target.check
    needed = {Verdict.UP: check.fall, Verdict.DOWN: check.rise, Verdict.UNKNOWN: 1}[state.verdict]
    return ProbeReport(
        check=target.name,
        where=target.where,
        verdict=str(state.verdict),
        streak=state.streak,
        needed=needed,
        since=state.since,
        probed=state.probed,
        text=state.text,
        failure=state.failure,
        seconds=None if state.probed is None else state.seconds,
        successes=state.successes,
        failures=state.failures,
        restored=state.restored,
        expires=state.expires,
    )
