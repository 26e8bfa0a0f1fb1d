"""What a running daemon says of itself, as lines for a terminal of 80 columns; without colour.

Knows the shapes of `report` and how an operator reads them at night. Knows nothing of where they come from, and prints
nothing. Moments are shown in UTC, as the log has them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .present import LABEL, Row, align, show_comparison, show_percent
from .report import BackendReport, Forecast, MemberReport, Move, OverrideReport, PoolChange, PoolReport, ProbeReport, Status

if TYPE_CHECKING:  # words need no loader
    from .loading import LoadReport

WIDTH = 80
FEW_POOLS = 20  # so many are all listed by `status`; of more only those that are not up
MOST_ROWS = 20  # of a forecast; --json has all
DAY = 86400


def show_status(status: Status) -> Iterator[str]:
    """Lines of `geodns status`."""
    ready = "ready" if status.ready else "not ready: waiting for the first results of the checks"
    up = show_age(status.now - status.started)
    yield from _indent(f"geodns {status.version} ({status.engine}), pid {status.pid}, up {up}, {ready}", 0, LABEL)
    yield from wrap_rows(_status_rows(status))
    yield ""
    yield from _pool_table(status.pools, status.now)
    if status.overrides:
        yield ""
        yield from show_overrides(status.overrides, status.now)


def _status_rows(status: Status) -> Iterator[Row]:
    config, now = status.config, status.now
    yield "listen", ", ".join(status.listen) or "nowhere: PowerDNS answers"
    if status.backend is not None:
        yield "powerdns", f"{status.backend.path}: {_backend_words(status.backend)}"
    yield "config", f"{config.path} ({config.digest[:12]}), loaded {show_age(now - config.loaded)} ago"
    yield "", config.summary
    if config.last_good:
        yield "", "the file was broken at the start: what was kept of its last good state is served"
    if not config.reload_ok:
        yield "reload", f"FAILED {show_age(now - config.reload_at)} ago, so what is served is older than the file:"
        yield from (("", line) for line in config.reload_lines[:MOST_ROWS])
    if config.waiting:
        yield "waits", f"{', '.join(config.waiting)}: changed, but needs a restart"
    for database in status.databases:
        days = max(0, int((now - database.built) // DAY))
        yield "database", f"{database.path}: {database.kind}, {days} day{'s'[: days != 1]} old"
    prober = status.prober
    if prober.running:
        late = "" if prober.lateness is None else f", 99 % at most {_milliseconds(prober.lateness)} late"
        yield "prober", f"running for {show_age(now - prober.since)}, {_count(prober.targets, 'target')}{late}"
    elif not prober.targets:
        yield "prober", "not started: nothing is checked"
    else:
        yield "prober", f"STOPPED {show_age(now - prober.since)} ago: verdicts are held as they were"
    if prober.restarts:
        yield "", f"restarted {_count(prober.restarts, 'time')}"
    for family, since in prober.frozen:
        yield "FROZEN", f"{family} for {show_age(now - since)}: most targets fell silent at once, so verdicts are held"


def _backend_words(backend: BackendReport) -> str:
    """How many connections by the pipe, how many by the remote backend, how many that have not asked anything."""
    counts = (backend.pipe, "pipe"), (backend.remote, "remote"), (backend.silent, "silent")
    found = ", ".join(f"{count} {label}" for count, label in counts if count)
    total = backend.pipe + backend.remote + backend.silent
    return f"{_count(total, 'connection')} ({found})" if found else "nobody is connected"


def _pool_table(pools: Sequence[PoolReport], now: float) -> Iterator[str]:
    """A line a pool; of many pools only those that are not up."""
    if not pools:
        yield "no service has a pool"
        return
    shown = pools if len(pools) <= FEW_POOLS else [pool for pool in pools if pool.rank != "up"]
    if shown:
        head = ["SERVICE/DATACENTER", "STATE", "LIVE", "TTL", "SINCE", "OVERRIDDEN"]
        yield from align([head, *(_pool_cells(pool, now) for pool in shown)])
    if len(shown) < len(pools):
        yield f"{_count(len(pools) - len(shown), 'pool')} up (`geodns pools` lists all)"


def _pool_cells(pool: PoolReport, now: float) -> list[str]:
    causes = dict.fromkeys(cause for member in pool.members for cause in (member.drained, member.forced) if cause)
    live = f"{_live(pool.members)} of {len(pool.members)}"
    name = f"{pool.service}/{pool.datacenter}"
    return [name, pool.rank, live, f"{pool.ttl} s", show_age(now - pool.since), ", ".join(causes)]


def show_pools(pools: Iterable[PoolReport], now: float) -> Iterator[str]:
    """Lines of `geodns pools`: every member, with what its checks saw."""
    for number, pool in enumerate(pools):
        if number:
            yield ""
        since, live = show_age(now - pool.since), f"{_live(pool.members)} of {_count(len(pool.members), 'member')} live"
        yield f"{pool.service}/{pool.datacenter}: {pool.rank} for {since}, {live}, ttl {pool.ttl}"
        for member in pool.members:
            yield from _indent(f"{member.member}  {_member_words(member)}", 2, 6)
            for probe in member.probes:
                yield from _indent(f"{probe.check}: {_probe_words(probe, now)}", 4, 6)
                yield from _indent(_count_words(probe), 6, 6)


def _member_words(member: MemberReport) -> str:
    words = [f"{member.verdict}{', which is answered' if member.verdict == 'unknown' and not member.drained else ''}"]
    if member.observed == "none":
        words.append("not checked")
    elif member.observed != member.verdict:
        words.append(f"observed {member.observed}")
    if member.forced:
        words.append(f"forced by {member.forced}")
    if member.drained:
        words.append(f"drained by {'the configuration' if member.drained == 'configuration' else member.drained}")
    words.append(f"weight {member.weight}")
    return ", ".join(words)


def _probe_words(probe: ProbeReport, now: float) -> str:
    """What it says, since when, and how fresh that is."""
    if probe.probed is None:
        return f"{probe.where} {probe.verdict}, no result yet"
    streak = f", {probe.streak} of {probe.needed} results against it" if probe.streak else ""
    seconds = "" if probe.seconds is None else f" in {_milliseconds(probe.seconds)}"
    restored = ", as the run before left it" if probe.restored else ""
    state = f"{probe.where} {probe.verdict} for {show_age(now - probe.since)}{streak}{restored}"
    return f"{state}; {show_age(now - probe.probed)} ago{seconds}: {printable(probe.text) or 'nothing said'}"


def _count_words(probe: ProbeReport) -> str:
    counts = f"{probe.successes} passed, {probe.failures} failed"
    return f"{counts}; last failure: {printable(probe.failure)}" if probe.failure else counts


def show_overrides(overrides: Sequence[OverrideReport], now: float) -> Iterator[str]:
    """Lines of `geodns overrides`: a line each, and who and why below it."""
    if not overrides:
        yield "no overrides"
    for override in overrides:
        reach = _count(override.members, "member") if override.members else "matches nothing, and is kept"
        yield from _indent(f"{_verb(override)} {override.target}: {reach}, {_until(override, now)}", 0, 4)
        yield from _indent(f"{show_age(now - override.since)} ago {_signed(override)}", 4, 4)


def _verb(override: OverrideReport) -> str:
    return "drain" if override.kind == "drain" else f"force {override.kind}"


def _signed(override: OverrideReport) -> str:
    """Who, and why."""
    return f"by {printable(override.owner)}" + (f": {printable(override.reason)}" if override.reason else "")


def _until(override: OverrideReport, now: float) -> str:
    if override.until is None:
        return "until it is ended"
    return f"ends in {show_age(override.until - now)}, at {show_moment(override.until)}"


def show_forecast(forecast: Forecast) -> Iterator[str]:
    """Lines of `geodns drain`, `undrain` and `force`: what it does, who moves, and until when old answers live."""
    yield from textwrap.wrap(sum_up(forecast), WIDTH, subsequent_indent=" " * LABEL)
    if not forecast.applied:
        yield "dry run: nothing was changed"
    yield from wrap_rows(_forecast_rows(forecast))


def sum_up(forecast: Forecast) -> str:
    """One line: what begins or ends, and how far it reaches."""
    override, now = forecast.override, forecast.now
    reach = f"{_count(len(forecast.matched), 'member')} of {_count(len(_pools_of(forecast)), 'pool')}"
    if override is None:
        ended = ", ".join(f"{_verb(one)} {one.target}" for one in forecast.ended[:MOST_ROWS])
        return f"{ended or 'nothing'} {'ends' if not forecast.applied else 'ended'}: {reach}"
    return f"{_verb(override)} {override.target}: {reach}, {_until(override, now)}, {_signed(override)}"


def _pools_of(forecast: Forecast) -> set[str]:
    return {name.rpartition("/")[0] for name in forecast.matched}


def _forecast_rows(forecast: Forecast) -> Iterator[Row]:
    if forecast.override is not None:
        replaced = [f"{_verb(one)} {one.target} {_signed(one)}" for one in forecast.ended]
        yield from _labelled("replaces", replaced)
    yield from _labelled("pools", list(align([_change_cells(change) for change in forecast.pools])))
    if forecast.moves:
        yield from _labelled("moves", list(align([_move_cells(move) for move in forecast.moves])))
        yield "", "of the IPv4 addresses that can be placed"
    else:
        yield "moves", "nobody gets another datacenter"
    end = show_moment(forecast.now + forecast.horizon)
    if forecast.horizon:
        yield "until", f"{end} resolvers may give out the old answers ({forecast.horizon:.0f} s)"
    yield from (("WARNING", warning) for warning in forecast.warnings)


def _change_cells(change: PoolChange) -> list[str]:
    return [f"{change.service}/{change.datacenter}", f"{change.before} -> {change.after}"]


def _move_cells(move: Move) -> list[str]:
    return [move.service, f"{move.source or 'nobody'} -> {move.target or 'nobody'}", show_percent(move.share)]


def _labelled(label: str, lines: Sequence[str]) -> Iterator[Row]:
    """*lines* under one label; many are cut short."""
    for number, line in enumerate(lines[:MOST_ROWS]):
        yield ("" if number else label), line
    if len(lines) > MOST_ROWS:
        yield "", f"and {len(lines) - MOST_ROWS} more (--json has all)"


def show_load(report: LoadReport) -> Iterator[str]:
    """Lines of `geodns reload`: complaints, what moves where that was asked for, what waits, and how it ended."""
    yield from report.lines
    if report.comparison is not None:
        yield from show_comparison(report.comparison)
    if report.waiting:
        yield f"{', '.join(report.waiting)}: changed, but needs a restart"
    yield report.summary


def wrap_rows(rows: Iterable[Row]) -> Iterator[str]:
    """Labels on the left, text beside them, wrapped at `WIDTH`."""
    for label, text in rows:
        lines = textwrap.wrap(printable(text), WIDTH - LABEL, break_long_words=False, drop_whitespace=True) or [""]
        if len(text) <= WIDTH - LABEL:
            lines = [printable(text)]  # columns stay as they were aligned
        for number, line in enumerate(lines):
            yield f"{'' if number else label:<{LABEL}}{line}".rstrip()


def _indent(text: str, first: int, rest: int) -> list[str]:
    """*text* wrapped at `WIDTH`, its lines indented."""
    return textwrap.wrap(text, WIDTH, initial_indent=" " * first, subsequent_indent=" " * rest, break_long_words=False)


def _live(members: Sequence[MemberReport]) -> int:
    return sum(member.verdict != "down" and not member.drained for member in members)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s'[: number != 1]}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def show_age(seconds: float) -> str:
    """A length of time by its two largest units; what is less than a second or lies ahead is 0s."""
    left = max(0, int(seconds))
    units = (("d", DAY), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[tuple[int, str]] = []
    for unit, size in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count) or "0s"


def show_moment(seconds: float) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """*text* without characters that would command a terminal: what a stranger's server said stands here."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
