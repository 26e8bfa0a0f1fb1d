"""What services mean: references, pools, weights, fallbacks.

Knows services and what they name. Knows nothing of zones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..errors import Complaint
from .model import Config, Member, Service
from .places import Places, tell_undefined

MOST_WEIGHT = 2**32  # the draw works on 32 bits


def check_services(config: Config, places: Places) -> Iterator[Complaint]:
    """Every service, then the fallbacks between them."""
    for name, service in config.services.items():
        yield from _check_references(name, service, places)
        if "check" not in service.model_fields_set:
            yield places.warning(
                ("services", name), 'has no check, so it never fails over (write "check: off" if that is meant)'
            )
        for datacenter, members in service.pools.items():
            yield from _check_pool(name, datacenter, members, places)
        yield from _check_types(name, service, places)
    yield from _check_fallbacks(config, places)


def _check_references(name: str, service: Service, places: Places) -> Iterator[Complaint]:
    path = ("services", name)
    if service.map != "world" and service.map not in places.names("maps"):
        yield places.error((*path, "map"), tell_undefined("map", service.map, places))
    for number, check in enumerate(service.check or ()):
        if check not in places.names("checks"):
            yield places.error((*path, "check", number), tell_undefined("check", check, places))
    for datacenter in service.pools:
        if datacenter not in places.names("datacenters"):
            yield places.key_error((*path, "pools", datacenter), tell_undefined("datacenter", datacenter, places))
    fallback = service.all_down.service
    if fallback is not None and fallback not in places.names("services"):
        yield places.error((*path, "all_down", "service"), tell_undefined("service", fallback, places))


def member_type(member: Member) -> str:
    """A, AAAA, or CNAME for a target."""
    if member.address is None:
        return "CNAME"
    return "A" if member.address.version == 4 else "AAAA"


def _check_pool(name: str, datacenter: str, members: Sequence[Member], places: Places) -> Iterator[Complaint]:
    path = ("services", name, "pools", datacenter)
    weights: Counter[str] = Counter()
    for member in members:
        weights[member_type(member)] += member.weight
    if "CNAME" in weights and len(weights) > 1:
        yield places.error(path, "has addresses and targets; a pool has either")
        return
    for rtype, total in weights.items():
        what = "target" if rtype == "CNAME" else f"{rtype} member"
        if total == 0:
            yield places.error(path, f"every {what} has weight 0; one must be above")
        elif total >= MOST_WEIGHT:
            yield places.error(path, f"the weights add up to {total}; they must stay below {MOST_WEIGHT}")


def _check_types(name: str, service: Service, places: Places) -> Iterator[Complaint]:
    """Pools of addresses that offer different types: somebody gets no answer for a type that others get."""
    types = {dc: frozenset(map(member_type, members)) for dc, members in service.pools.items()}
    addresses = {dc: offered for dc, offered in types.items() if "CNAME" not in offered}
    every = frozenset[str]().union(*addresses.values())
    if "CNAME" in frozenset[str]().union(*types.values()):
        every = frozenset({"A", "AAAA"})  # a target offers both
    for datacenter, offered in addresses.items():
        if missing := sorted(every - offered):
            text = f"has no {' and no '.join(missing)} member, but others of {name} have: its clients get no such records"
            yield places.warning(("services", name, "pools", datacenter), text)


def _check_fallbacks(config: Config, places: Places) -> Iterator[Complaint]:
    """Each loop of fallback services once, at its first service."""
    told: set[str] = set()
    for name in config.services:
        chain = [name]
        while (step := config.services.get(chain[-1])) is not None and step.all_down.service is not None:
            if step.all_down.service in chain:
                loop = chain[chain.index(step.all_down.service) :]
                if not told & set(loop):
                    text = f"fallbacks must not loop: {' -> '.join([*loop, loop[0]])}"
                    yield places.error(("services", loop[0], "all_down", "service"), text)
                told |= set(loop)
                break
            chain.append(step.all_down.service)
