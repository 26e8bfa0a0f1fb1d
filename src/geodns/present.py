"""Facts as lines for a terminal: short, aligned, readable without colour.

Knows the shapes of `explanation` and how a person reads them. Knows nothing of how they were found out, and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .errors import Complaint, Severity
from .explanation import Candidate, Decision, Distance, Explanation, Hop, Located, Location, Reply, Step, View

if TYPE_CHECKING:  # words need no compiler: a command line that is only wrong should say so at once
    from .compiler.diff import Comparison, ServiceMove
    from .databases import Databases

MOST_COUNTRIES = 12  # named by `geodns diff`; --json has all
LABEL = 10  # columns of the words on the left

Row = tuple[str, str]


def show_explanation(told: Explanation) -> Iterator[str]:
    """Lines of `geodns explain`."""
    subnet = f"client subnet {told.subnet}" if told.subnet else "no client subnet"
    yield f"{told.name} {told.rtype}, {subnet}, asked by {told.peer}"
    for hop in told.hops:
        yield ""
        yield from _lines(_hop_rows(hop))
    yield ""
    yield from _lines(_reply_rows(told.reply, None if told.certain else told.draw))


def show_location(told: Location) -> Iterator[str]:
    """Lines of `geodns locate`."""
    yield from _lines(_located_rows(told.located))
    yield from _lines(_distance_rows(told.distances))
    for view in told.views:
        yield ""
        yield from _lines(_view_rows(view))


def show_comparison(found: Comparison) -> Iterator[str]:
    """Lines of `geodns diff`."""
    width = max((len(service.service) for service in found.services), default=0)
    for service in found.services:
        share = show_percent(service.share)
        moves = f"{share} of the IPv4 addresses that can be placed would move" if service.moved else "nothing moves"
        yield f"{service.service:<{width}}  {moves}"
        for line in _move_lines(service):
            yield f"{'':<{width}}  {line}"
    for verb, names in (("new", found.added), ("gone", found.removed)):
        if names:
            yield f"{verb}: {', '.join(names)}"
    if not found.services:
        yield "no service is in both configurations"


def _move_lines(service: ServiceMove) -> Iterator[str]:
    yield from align(
        [
            [show_percent(move.addresses / service.placed), f"{move.source or 'nobody'} -> {move.target or 'nobody'}"]
            for move in service.moves
        ]
    )
    if service.countries:
        shown = [f"{code} {show_percent(size / service.placed)}" for code, size in service.countries[:MOST_COUNTRIES]]
        more = len(service.countries) - len(shown)
        yield f"countries: {', '.join(shown)}" + (f", {more} more" if more else "")


def show_databases(found: Databases) -> Iterator[str]:
    """Lines of `geodns geoip status`."""
    for file in found.files:
        yield file.file
        yield f"  {file.key}: {file.kind}{' (packaged)' if file.packaged else ''}"
        yield f"  built {file.built}, {file.age_days} days ago"
        yield f"  {' and '.join(file.families)}, {file.nodes:,} nodes, {file.octets / 1e6:.1f} MB"
    if found.notice is not None:
        yield str(found.notice)


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    """Each label once, on the left; rows that go on have none."""
    for label, text in rows:
        yield f"{label:<{LABEL}}{text}".rstrip()


def _hop_rows(hop: Hop) -> Iterator[Row]:
    yield "name", f"{hop.name} {hop.match_why}"
    if hop.decision:
        yield from _decision_rows(hop.decision)
    yield "result", f"{hop.outcome}: {hop.outcome_why}"
    for record in hop.records:
        yield "", record


def _decision_rows(decision: Decision) -> Iterator[Row]:
    yield "service", f"{decision.service}, map {decision.map}"
    yield "client", f"{decision.client}: {decision.client_why}"
    yield from _located_rows(decision.located)
    yield "order", f"{_order(decision.order)}: {decision.rule}"
    yield "range", f"{decision.first_address}-{decision.last_address}"
    yield "scope", f"/{decision.scope}: {decision.scope_why}"
    yield from _labelled("pools", _step_cells(decision.steps))
    yield "taken", f"{decision.taken}: {decision.taken_why}"
    yield "ttl", f"{decision.ttl}: {decision.ttl_why}"
    yield from _labelled("members", _candidate_cells(decision))
    if decision.fallback:
        yield "fallback", f"service {decision.fallback.service} answers instead"
        yield from _decision_rows(decision.fallback)


def _step_cells(steps: Sequence[Step]) -> list[list[str]]:
    tiers = {step.tier for step in steps if [s.tier for s in steps].count(step.tier) > 1}
    return [
        [
            step.datacenter,
            f"tier {step.tier}" + (f" weight {step.weight}" if step.tier in tiers else ""),
            *_distance(step.km, step.ranked_km),
            step.pool,
            f"{step.live} of {step.members} live",
            f"ttl {step.ttl}",
            show_share(step.share),
        ]
        for step in steps
    ]


def _candidate_cells(decision: Decision) -> list[list[str]]:
    several = any(candidate.in_reply != candidate.first for candidate in decision.candidates)
    return [_candidate_cell(candidate, several) for candidate in decision.candidates]


def _candidate_cell(candidate: Candidate, several: bool) -> list[str]:
    cells = [candidate.datacenter, candidate.member, f"weight {candidate.weight}", candidate.state]
    if not several:
        return [*cells, show_share(candidate.first)]
    inside = "" if candidate.in_reply is None else f"in the reply {show_share(candidate.in_reply)}"
    return [*cells, f"first {show_share(candidate.first)}", inside]


def _reply_rows(reply: Reply | None, draw: int | None) -> Iterator[Row]:
    if reply is None:
        yield "reply", "none: silence"
        return
    scope = "" if reply.scope is None else f", scope /{reply.scope}"
    yield "reply", f"{reply.rcode}, flags {' '.join(reply.flags)}{scope}, {reply.size} octets"
    if draw is not None:
        yield "", f"one of several possible: drawn by {draw:#018x} (--draw asks for another)"
    sections = [("answer", reply.answer), ("authority", reply.authority), ("extra", reply.additional)]
    for label, records in sections:
        for i, record in enumerate(records):
            yield ("" if i else label), record


def _located_rows(located: Located) -> Iterator[Row]:
    if located.special:
        yield "special", located.special
    yield "place", _place(located)
    said = f"{located.source}, network {located.network}" if located.network else located.source
    yield "source", said
    if located.coordinates and located.coordinates_from != "record":
        yield "", f"coordinates: {located.coordinates_from}"
    aside = [f"accuracy {located.accuracy_km} km" if located.accuracy_km is not None else ""]
    aside.append(f"registered in {located.registered_country}" if located.registered_country else "")
    if any(aside):
        yield "", f"not used: {', '.join(filter(None, aside))}"


def _place(located: Located) -> str:
    words = [located.continent, located.subdivision or located.country, located.city]
    if located.coordinates:
        words.append("{:.2f} {:.2f}".format(*located.coordinates))
    if located.asn is not None:
        words.append(f"AS{located.asn}")
    return ", ".join(filter(None, words)) or "unknown"


def _distance_rows(distances: Sequence[Distance]) -> Iterator[Row]:
    yield from _labelled(
        "distances",
        [[d.datacenter, *_distance(d.km, d.ranked_km), f"bias {d.bias}" if d.bias else ""] for d in distances],
    )


def _view_rows(view: View) -> Iterator[Row]:
    users = f"service {view.services[0]}" if len(view.services) == 1 else f"services {', '.join(view.services)}"
    yield "map", f"{view.map}, {users if view.services else 'no service'}"
    yield "order", f"{_order(view.order)}: {view.rule}"
    yield "range", f"{view.first_address}-{view.last_address}"
    yield "scope", f"/{view.scope}: {view.scope_why}"


def _order(tiers: Sequence[str]) -> str:
    return " > ".join(tiers) or "nothing"


def _distance(km: float | None, ranked_km: float | None) -> list[str]:
    """Two cells: the distance, and what the ranking makes of it where the bias changes it."""
    if km is None:
        return ["", ""]
    ranked = "" if ranked_km is None or round(ranked_km) == round(km) else f"ranked {ranked_km:,.0f} km"
    return [f"{km:,.0f} km", ranked]


def show_share(share: float) -> str:
    """A probability as a person reads it."""
    if share >= 1:
        return "always"
    return show_percent(share) if share else "-"


def show_percent(share: float) -> str:
    """A share of a whole: never 0 % or 100 % for what only nearly is."""
    percent = share * 100
    if not 0 < percent < 100:
        return f"{percent:.0f} %"
    if percent < 0.05:
        return "< 0.1 %"
    if percent > 99.95:
        return "> 99.9 %"
    return f"{percent:.0f} %" if abs(percent - round(percent)) < 0.005 else f"{percent:.1f} %"


def _labelled(label: str, cells: Sequence[Sequence[str]]) -> Iterator[Row]:
    for i, line in enumerate(align(cells)):
        yield ("" if i else label), line


def align(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of *cells* in columns as wide as their widest cell; a column that begins with figures stands right."""
    if not cells:
        return
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(not cell or cell[0].isdigit() for cell in column) and "km" in column[0] for column in columns]
    for row in cells:
        parts = (
            cell.rjust(width) if stands_right else cell.ljust(width)
            for cell, width, stands_right in zip(row, widths, right, strict=True)
            if width
        )
        yield "  ".join(parts).rstrip()


def count_complaints(complaints: Sequence[Complaint]) -> str:
    """``2 problems, 1 warning``; empty without complaints."""
    problems = sum(complaint.severity is Severity.ERROR for complaint in complaints)
    counts = [(problems, "problem"), (len(complaints) - problems, "warning")]
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count)
