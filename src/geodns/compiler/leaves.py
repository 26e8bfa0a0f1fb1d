"""What stands behind the records of a tree: the state of each, and the nodes below which all is one state.

Knows records in bulk: one by one, or natively in groups that cannot differ in their state, of which one record each is read.
Knows nothing of addresses or ranges (`rangebuild`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from .. import loops
from ..errors import DatabaseError
from ..geo.mmdb import Database
from ..geo.place import ASN_WANTED, FACTS_WANTED, NOWHERE, Facts, read_asn, read_facts
from ..geo.records import Wanted
from .states import Memo, States

MIXED = -1
T = TypeVar("T")
Values: TypeAlias = "dict[int, int] | loops.walk.Leaves"  # by record of a tree


@dataclass(frozen=True)
class Leaves:
    """A database and the state behind each of its records. *facts* collects what corrections need to know exactly."""

    database: Database
    values: Values
    facts: dict[Facts, int]

    @cached_property
    def marks(self) -> array[int]:
        """By node: the one value of its whole subtree, or MIXED."""
        return mark_nodes(self.database, self.values)

    @cached_property
    def exact(self) -> Memo:
        """Number in *facts* by record, for where a correction lies over it."""
        database, facts = self.database, self.facts

        def number(pointer: int) -> int:
            if pointer == database.node_count:
                return 0
            return facts.setdefault(read_facts(database.record(pointer, FACTS_WANTED)), len(facts))

        return Memo(number)


@dataclass(frozen=True, slots=True)
class Single:
    """The records of a database, each for itself."""

    database: Database
    pointers: list[int]

    def places(self) -> Iterator[Facts]:
        """What each says of where it is. Raises DatabaseError."""
        return self.each(FACTS_WANTED, read_facts)

    def each(self, wanted: Wanted, read: Callable[[Any], T]) -> Iterator[T]:
        """What *read* makes of each. Raises DatabaseError."""
        return (read(self.database.record(pointer, wanted)) for pointer in self.pointers)

    def lay(self, numbers: array[int]) -> Values:
        """*numbers*, as they came out, by record."""
        return {self.database.node_count: 0, **dict(zip(self.pointers, numbers, strict=True))}


@dataclass(frozen=True, slots=True)
class Grouped:
    """The records of a database in groups, read natively; one record each is read by the reference, which decides."""

    database: Database
    pointers: loops.walk.Pointers
    groups: loops.records.Groups

    def places(self) -> Iterator[Facts]:
        """What each group says of where it is. Raises DatabaseError."""
        groups, known = self.groups, dict[int, Facts]()
        for offset, key, latitude, longitude in zip(
            groups.first, groups.keys, groups.latitudes, groups.longitudes, strict=True
        ):
            facts = known.get(key)
            if facts is None:
                facts = known[key] = read_facts(self.database.values.read(offset, FACTS_WANTED))
            elif facts.latitude is not None:  # the same record but for its coordinates
                facts = facts._replace(latitude=latitude, longitude=longitude)
            yield facts

    def each(self, wanted: Wanted, read: Callable[[Any], T]) -> Iterator[T]:
        """What *read* makes of each group. Raises DatabaseError."""
        return (read(self.database.values.read(offset, wanted)) for offset in self.groups.first)

    def lay(self, numbers: array[int]) -> Values:
        """*numbers*, as they came out, by record."""
        return loops.walk.Leaves(self.pointers, self.groups.members, numbers)


def find_records(database: Database, wanted: Wanted, sites: loops.distance.Sites | None) -> Single | Grouped:
    """All records of *database*: in groups where the native reader is here and finds nothing wrong with any of them."""
    if loops.are_native():
        values = database.values
        pointers = loops.walk.find_pointers(database.left, database.right, len(values.octets))
        if pointers is not None:
            groups = loops.records.group_records(values.octets, pointers.offsets(), wanted, sites, values.patience)
            if groups is not None:
                return Grouped(database, pointers, groups)
    return Single(database, sorted(database.pointers()))


def read_leaves(database: Database, states: States, facts: dict[Facts, int]) -> Leaves:
    """Decode all records of *database*. Raises DatabaseError when it has records, but none says where anything is."""
    records = find_records(database, FACTS_WANTED, states.shadow)
    numbers, known = array("i"), False
    for found in records.places():
        known = known or found != NOWHERE
        numbers.append(0 if found == NOWHERE else states.of_facts(found))
    if numbers and not known:
        kind = database.metadata.database_type
        raise DatabaseError(f'{database.name}: holds no places (its type is "{kind}"), expected a City or Country database')
    return Leaves(database, records.lay(numbers), facts)


def read_numbers(database: Database, asns: Sequence[int]) -> Values:
    """By record: 0, or 1 + the index in *asns* of its AS number. Raises DatabaseError when no record has any."""
    wanted = {asn: i + 1 for i, asn in enumerate(asns)}
    records = find_records(database, ASN_WANTED, None)
    numbers, known = array("i"), False
    for found in records.each(ASN_WANTED, read_asn):
        known = known or found is not None
        numbers.append(wanted.get(found, 0) if found is not None else 0)
    if numbers and not known:
        kind = database.metadata.database_type
        raise DatabaseError(f'{database.name}: holds no AS numbers (its type is "{kind}"), expected an ASN database')
    return records.lay(numbers)


def mark_nodes(database: Database, values: Values) -> array[int]:
    """By node: the one value of its whole subtree, or MIXED, which is also safe to say of one not looked at yet."""
    if not isinstance(values, dict):
        return loops.walk.mark_nodes(database.left, database.right, values)
    nodes = i = database.node_count
    marks = array("i", [MIXED]) * nodes
    for left, right in zip(reversed(database.left), reversed(database.right), strict=True):
        a = marks[left] if left < nodes else values[left]
        i -= 1
        if right < nodes:
            marks[i] = a if a == marks[right] else MIXED
        else:
            marks[i] = a if a == values[right] else MIXED
    return marks
