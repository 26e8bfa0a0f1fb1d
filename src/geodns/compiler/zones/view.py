"""What stands where when all zones are seen together: which zone holds a name, and whether the name exists.

Knows zones inside zones, delegations, wildcards and empty non-terminals. Knows nothing of what is right or wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ...wire.name import label_starts
from .drafts import Draft
from .records import ADDRESS_TYPES, DS, NS, WILDCARD, Record


class Standing(Enum):
    """What can be said of a name."""

    OUTSIDE = auto()  # in no zone of ours
    DELEGATED = auto()  # at or below a cut: others know
    UNKNOWN = auto()  # in a zone of ours that is broken in part
    MISSING = auto()
    EXISTS = auto()  # itself, by a wildcard, or because others stand below it


@dataclass(frozen=True, slots=True)
class View:
    """All drafts, parents first, each with its cuts and the names that it answers for.

    `inner` are the zones of ours whose nearest one above is this; `cuts` the topmost delegations of a zone; `existing`
    the names of a zone that are not at or below one, empty non-terminals included.
    """

    drafts: Mapping[bytes, Draft]
    inner: Mapping[bytes, Sequence[bytes]]
    cuts: Mapping[bytes, frozenset[bytes]]
    existing: Mapping[bytes, frozenset[bytes]]


def build_view(drafts: Mapping[bytes, Draft]) -> View:
    """*drafts* by apex, parents before children."""
    cuts = {apex: _find_cuts(drafts, draft) for apex, draft in drafts.items()}
    inner: dict[bytes, list[bytes]] = {apex: [] for apex in drafts}
    for draft in drafts.values():
        parent = find_parent(drafts, draft)
        if parent is not None:
            inner[parent.apex].append(draft.apex)
    view = View(drafts, inner, cuts, {})
    return View(drafts, inner, cuts, {apex: _find_existing(view, draft) for apex, draft in drafts.items()})


def find_zone(drafts: Mapping[bytes, Draft], name: bytes) -> Draft | None:
    """The deepest zone at or above *name*."""
    for at in label_starts(name):
        draft = drafts.get(name[at:])
        if draft is not None:
            return draft
    return None


def find_parent(drafts: Mapping[bytes, Draft], draft: Draft) -> Draft | None:
    """The nearest zone of ours above *draft*."""
    apex = draft.apex
    return find_zone(drafts, apex[1 + apex[0] :]) if len(apex) > 1 else None


def find_cut(view: View, draft: Draft, name: bytes) -> bytes | None:
    """The delegation of the zone at or above *name*."""
    cuts = view.cuts[draft.apex]
    if not cuts:
        return None
    return next((name[at:] for at in label_starts(name) if name[at:] in cuts), None)


def locate(view: View, name: bytes) -> tuple[Standing, Draft | None, bytes]:
    """What can be said of *name*, the zone that it belongs to, and the name whose records answer (that of a wildcard)."""
    draft = find_zone(view.drafts, name)
    if draft is None:
        return Standing.OUTSIDE, None, name
    if find_cut(view, draft, name) is not None:
        return Standing.DELEGATED, draft, name
    existing = view.existing[draft.apex]
    if name in existing:
        return Standing.EXISTS, draft, name
    if not draft.whole:
        return Standing.UNKNOWN, draft, name
    # RFC 4592 3.3.1: the source of synthesis is the wildcard child of the closest encloser.
    encloser = next(name[at:] for at in label_starts(name) if name[at:] in existing)
    wildcard = WILDCARD + encloser
    return (Standing.EXISTS, draft, wildcard) if wildcard in existing else (Standing.MISSING, draft, name)


def find_records(draft: Draft | None, name: bytes) -> Mapping[int, list[Record]]:
    """The static records of a name."""
    return {} if draft is None else draft.rrsets.get(name, {})


def served(view: View, draft: Draft) -> Iterator[tuple[bytes, Mapping[int, list[Record]]]]:
    """The owners that the zone answers for itself, with their static records (none where only a service stands)."""
    existing = view.existing[draft.apex]
    for owner, rrsets in draft.rrsets.items():
        if owner in existing:
            yield owner, rrsets
    for owner in draft.services:
        if owner in existing and owner not in draft.rrsets:
            yield owner, {}


def find_glue(view: View, draft: Draft) -> frozenset[bytes]:
    """Owners at or below cuts of the zone whose addresses travel with referrals: name servers of the zone or its cuts."""
    targets = set()
    for name in (draft.apex, *view.cuts[draft.apex]):
        for record in find_records(draft, name).get(NS, ()):
            target = record.target
            if find_zone(view.drafts, target) is draft and find_cut(view, draft, target) is not None:
                targets.add(target)
    return frozenset(targets)


def kept_at_cut(owner: bytes, cut: bytes, glue: frozenset[bytes]) -> frozenset[int]:
    """The types of records that count at or below a cut: the delegation itself, and glue."""
    types = ADDRESS_TYPES if owner in glue else frozenset[int]()
    return types | {NS, DS} if owner == cut else types


def _find_cuts(drafts: Mapping[bytes, Draft], draft: Draft) -> frozenset[bytes]:
    """Owners of NS below the apex that belong to this zone; of two on one path the upper one."""
    owners = {
        owner
        for owner, rrsets in draft.rrsets.items()
        if owner != draft.apex and rrsets.get(NS) and not owner.startswith(WILDCARD) and find_zone(drafts, owner) is draft
    }
    return frozenset(owner for owner in owners if not any(owner[at:] in owners for at in label_starts(owner)[1:]))


def _find_existing(view: View, draft: Draft) -> frozenset[bytes]:
    existing = {draft.apex}
    below = view.inner[draft.apex]
    for names in (draft.rrsets, draft.services, below):
        for owner in names:
            if names is not below and find_zone(view.drafts, owner) is not draft:
                continue
            cut = find_cut(view, draft, owner)
            name = owner if cut is None else cut
            if name is cut or names is below:
                name = name[1 + name[0] :]  # others answer at the name itself; those above it exist
            while name not in existing:
                existing.add(name)
                name = name[1 + name[0] :]
    return frozenset(existing)
