"""What the log is told of health: one line per decision, in words and as fields.

Knows how flips, freezes and overrides are told. Knows nothing of why they happen, nor of the log itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from .guard import Freeze, Thaw
from .overrides import Override
from .state import MemberKey, State, Verdict
from .targets import Target

Value = str | int | float | None


class Moment(NamedTuple):
    """One reading of both clocks: ages within a run are monotonic, what is saved or shown is wall clock. In seconds."""

    mono: float
    wall: float  # since 1970


class Event(NamedTuple):
    """One line of the log."""

    level: int  # of `logging`
    text: str
    fields: Mapping[str, Value]


class Flip(NamedTuple):
    """A member whose checks together say something else than before."""

    member: MemberKey
    before: Verdict
    after: Verdict
    hidden: str  # why nothing follows from it: "forced up by ams"; empty: it counts


def tell_flip(flip: Flip, target: Target, reason: str) -> Event:
    """``www/ams/192.0.2.10: up to down: 3 failures in a row, no reply within 2 s (https 192.0.2.10:443)``."""
    name = "/".join(flip.member)
    text = f"{name}: {flip.before} to {flip.after}: {reason} ({target.where})"
    if flip.hidden:
        text += f"; {flip.hidden}"
    level = logging.WARNING if flip.after is Verdict.DOWN else logging.INFO
    if flip.before is Verdict.UNKNOWN and flip.after is Verdict.UP:
        level = logging.DEBUG  # at a start everybody says so
    fields = {"member": name, "from": str(flip.before), "to": str(flip.after), "reason": reason, "check": target.name}
    return Event(level, text, fields)


def give_reason(before: State, after: State, target: Target) -> str:
    """Why a target's verdict became that of *after*: how many results, and what the last one said."""
    if before.verdict is Verdict.UNKNOWN:
        return f"first result, {after.text}"
    if after.verdict is Verdict.UNKNOWN:
        return f"no verdict, {after.text}"
    word, count = ("success", target.check.rise) if after.verdict is Verdict.UP else ("failure", target.check.fall)
    if count == 1:
        return f"1 {word}, {after.text}"
    return f"{count} {word}{'es' if word == 'success' else 's'} in a row, {after.text}"


def tell_weight(member: MemberKey, before: int | None, after: int | None, target: Target) -> Event:
    """A weight that a file says; at debug level, because it may follow the load and change with every look."""
    name = "/".join(member)
    words = ["the configured one" if weight is None else str(weight) for weight in (before, after)]
    text = f"{name}: weight {words[0]} to {words[1]} ({target.where})"
    return Event(logging.DEBUG, text, {"member": name, "before": before, "weight": after})


def tell_freeze(change: Freeze | Thaw, limit: float) -> Event:
    """A family whose verdicts are held from now on, or no longer."""
    if isinstance(change, Freeze):
        text = (
            f"{change.family}: {change.silent} of {change.up} targets that were up gave no reply within one interval, in "
            f"{', '.join(sorted(change.datacenters))}: this host itself seems cut off. Verdicts are held, for at most "
            f"{tell_seconds(limit)}"
        )
        fields: dict[str, Value] = {"family": change.family, "silent": change.silent, "up": change.up}
        return Event(logging.ERROR, text, fields)
    lasted = tell_seconds(change.lasted)
    if change.seen:
        text = f"{change.family}: probes get replies again after {lasted}: verdicts follow them"
        return Event(logging.WARNING, text, {"family": change.family, "lasted": change.lasted})
    text = f"{change.family}: still no replies after {lasted}: verdicts follow the probes again"
    return Event(logging.ERROR, text, {"family": change.family, "lasted": change.lasted})


def tell_begun(override: Override, replaced: Sequence[Override], members: int) -> Event:
    """An override that begins."""
    until = "until it is ended" if override.until is None else f"until {tell_time(override.until)}"
    text = f"{tell_override(override)} begun by {override.owner}, {until}: {tell_members(members)}"
    text += f"; reason: {override.reason}" if override.reason else ""
    text += "".join(f"; it takes the place of {tell_override(old)} by {old.owner}" for old in replaced)
    return Event(logging.WARNING, text, _fields(override) | {"members": members})


def tell_ended(override: Override, wall: float, *, expired: bool) -> Event:
    """An override that ends, because somebody said so or because its time is over."""
    lasted = tell_seconds(max(0.0, wall - override.since))
    how = "its time is over" if expired else "ended"
    text = f"{tell_override(override)} of {override.owner}: {how} after {lasted}"
    return Event(logging.WARNING, text, _fields(override))


def tell_idle(override: Override) -> Event:
    """An override that names nobody who is served."""
    return Event(
        logging.WARNING, f"{tell_override(override)} of {override.owner} matches nothing; it is kept", _fields(override)
    )


def tell_strangers(states: int, limit: float) -> Event:
    """Nothing of what was saved belongs to this configuration."""
    text = (
        f"none of {states} saved states is of this configuration: every member is probed before it is answered; what was "
        f"saved is kept until it is {tell_seconds(limit)} old"
    )
    return Event(logging.WARNING, text, {"states": states})


def tell_stopped(targets: int, limit: float) -> Event:
    """Nothing is probed any more."""
    text = f"probes have stopped: verdicts of {targets} targets stay as they are, for at most {tell_seconds(limit)}"
    return Event(logging.ERROR, text, {"targets": targets})


def tell_started(paused: float) -> Event:
    """Probes run again."""
    return Event(logging.WARNING, f"probes run again after {tell_seconds(paused)}", {"paused": paused})


def tell_old(targets: int, limit: float) -> Event:
    """Verdicts that are too old to be believed."""
    text = f"no result of {targets} target{'s'[: targets != 1]} for {tell_seconds(limit)}: unknown from now on, and answered"
    return Event(logging.ERROR, text, {"targets": targets})


def tell_jump(jump: float) -> Event:
    """The wall clock went its own way, by *jump* seconds."""
    way = "forward" if jump > 0 else "back"
    text = f"the clock was set {way} by {tell_seconds(abs(jump))}: overrides end by the clock, verdicts do not follow it"
    return Event(logging.WARNING, text, {"jump": jump})


def tell_override(override: Override) -> str:
    """``drain ams``, ``force down www/ams``."""
    return f"{'drain' if override.kind == 'drain' else f'force {override.kind}'} {override.target}"


def tell_members(count: int) -> str:
    """``1 member``, ``12 members``."""
    return f"{count} member{'s'[: count != 1]}"


def tell_seconds(seconds: float) -> str:
    """About how long: ``0.5 s``, ``35 s``, ``31 min``, ``2 h``, ``3 days``."""
    for unit, word in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit or (seconds == unit and word != "days"):
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def tell_time(wall: float) -> str:
    """``2026-11-23T14:00:00Z``; a time that no calendar has, as seconds."""
    try:
        return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{wall:.0f} s after 1970"


def _fields(override: Override) -> dict[str, Value]:
    return {"target": override.target, "kind": override.kind, "owner": override.owner, "until": override.until}
