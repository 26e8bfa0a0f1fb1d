from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.config import check_services as module
from geodns.config.check_services import check_services, member_type
from geodns.config.model import AllDown, Config, Datacenter, Member, Service
from geodns.config.places import Places
from geodns.config.tree import make_entries
from geodns.errors import Place, Severity

NOWHERE = Places(make_entries(Place("t.yaml", 1, 1)))
A, B = Member(address=ip_address("192.0.2.1")), Member(address=ip_address("192.0.2.2"))
AAAA = Member(address=ip_address("2001:db8::1"))
TARGET = Member(target="edge.example.net.")


def errors(services: dict[str, Service], word: str) -> int:
    """How many errors about *services* hold *word*. (Nothing was written here, so every name is undefined too.)"""
    config = Config(datacenters={"ams": Datacenter(coordinates=(1, 2))}, services=services)
    found = check_services(config, NOWHERE)
    return sum(complaint.severity is Severity.ERROR and word in complaint.text for complaint in found)


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([*"abcdef", None]), max_size=6))
def test_always_finds_each_loop_of_fallbacks_once(falls: dict[str, str | None]) -> None:
    services = {}
    for name, to in falls.items():
        last = AllDown(kind="service", service=to) if to is not None else AllDown()
        services[name] = Service(check=None, pools={"ams": (A,)}, all_down=last)
    loops = set()
    for name in falls:
        at: str | None = name
        for _ in falls:  # as many steps as names: whoever is still on the way stands in a loop
            at = falls.get(at) if at is not None else None
        if at is not None and at in falls:
            loop = [at]
            while (following := falls[loop[-1]]) is not None and following != at:
                loop.append(following)
            loops.add(frozenset(loop))
    assert errors(services, "must not loop") == len(loops)


@given(st.lists(st.tuples(st.sampled_from([A, AAAA]), st.integers(0, 2)), min_size=1, max_size=6))
def test_always_wants_a_weight_above_zero_for_each_type(members: list[tuple[Member, int]]) -> None:
    pool = tuple(member.model_copy(update={"weight": weight}) for member, weight in members)
    totals = {kind: sum(m.weight for m in pool if member_type(m) == kind) for kind in map(member_type, pool)}
    service = Service(check=None, pools={"ams": pool})
    assert errors({"www": service}, "has weight 0") == sum(total == 0 for total in totals.values())


def test_weights_of_a_type_stay_below_the_bits_of_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MOST_WEIGHT == 2**32
    monkeypatch.setattr(module, "MOST_WEIGHT", 6)  # 65,538 members would reach the real one
    pool = (A.model_copy(update={"weight": 3}), B.model_copy(update={"weight": 3}), AAAA)
    assert errors({"www": Service(check=None, pools={"ams": pool})}, "add up to 6") == 1
    assert errors({"www": Service(check=None, pools={"ams": (*pool[1:], A)})}, "add up to") == 0


@pytest.mark.parametrize(("pool", "mixed"), [((A, AAAA), 0), ((TARGET,), 0), ((A, TARGET), 1), ((TARGET, AAAA), 1)])
def test_a_pool_has_addresses_or_targets(pool: tuple[Member, ...], mixed: int) -> None:
    assert errors({"www": Service(check=None, pools={"ams": pool})}, "addresses and targets") == mixed


def test_pools_of_a_service_may_differ_in_kind() -> None:
    service = Service(check=None, pools={"ams": (A, AAAA), "nyc": (TARGET,)})
    said = [complaint.text for complaint in check_services(Config(services={"www": service}), NOWHERE)]
    assert not [text for text in said if "is not defined" not in text]
