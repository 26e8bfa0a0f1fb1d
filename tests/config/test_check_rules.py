from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from itertools import product
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.check_rules import check_maps
from geodns.config.model import Config, Correction, Geoip, Map, Rule
from geodns.config.places import Places
from geodns.config.tree import make_entries
from geodns.errors import Place


class Client(NamedTuple):
    """A client of a small world, all whose databases agree."""

    address: IPv4Address
    asn: int
    country: str | None
    subdivision: str | None
    continent: str | None


NETWORKS = tuple(map(ip_network, ("10.0.0.0/8", "10.0.0.0/9", "10.1.0.0/16", "0.0.0.0/0")))
ADDRESSES = tuple(map(IPv4Address, ("10.1.0.1", "10.2.0.1", "10.200.0.1", "192.0.2.1")))
# Country and continent of one client need not agree: corrections may set either.
WHERE = ((None, None), ("US", None), ("US", "US-CA"), ("US", "US-NY"), ("NO", None), ("CA", "CA-BC"))
CLIENTS = [
    Client(address, asn, country, subdivision, continent)
    for address, asn, (country, subdivision), continent in product(ADDRESSES, (1, 2, 3), WHERE, ("EU", "NA", None))
]


def some(*values: object) -> st.SearchStrategy[tuple[object, ...]]:
    """One to three of *values*."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(tuple)


CONDITIONS = {
    "network": some(*NETWORKS),
    "asn": some(1, 2, 3),
    "country": some("US", "NO", "CA"),
    "subdivision": some("US-CA", "US-NY", "CA-BC"),
    "continent": some("EU", "NA"),
}
ORDER = ((("ams", 1),),)
RULES = st.fixed_dictionaries({}, optional=CONDITIONS).map(lambda written: Rule.model_validate({**written, "order": ORDER}))


def matches(rule: Rule, client: Client) -> bool:
    """The design's sentence: all conditions of a rule must hold, values of one are alternatives."""
    if rule.network and not any(client.address in network for network in rule.network):
        return False
    pairs = ((rule.asn, client.asn), (rule.country, client.country), (rule.subdivision, client.subdivision))
    return all(not wanted or has in wanted for wanted, has in (*pairs, (rule.continent, client.continent)))


def never_matching(rules: tuple[Rule, ...]) -> set[int]:
    """Numbers of the rules of which the check says that they never match: as the last one, what is said more."""
    geoip = Geoip(networks={ip_network("192.0.2.0/24"): Correction(asn=1)})
    places = Places(make_entries(Place("t.yaml", 1, 1)))  # no positions here, so numbers are counted
    said = []
    for number in range(len(rules) + 1):
        config = Config(geoip=geoip, maps={"world": Map(rules=rules[:number])})
        said.append(sum("never matches" in complaint.text for complaint in check_maps(config, places)))
    return {number for number in range(len(rules)) if said[number + 1] > said[number]}


@given(st.lists(RULES, max_size=5).map(tuple))
@settings(deadline=None, max_examples=300)
def test_never_blames_a_rule_that_some_client_reaches(rules: tuple[Rule, ...]) -> None:
    reached = {next((n for n, rule in enumerate(rules) if matches(rule, client)), None) for client in CLIENTS}
    assert not reached & never_matching(rules)


@given(RULES, st.lists(RULES, max_size=3))
@settings(deadline=None, max_examples=100)
def test_always_blames_a_rule_that_stands_there_twice(rule: Rule, others: list[Rule]) -> None:
    assert len(others) + 1 in never_matching((rule, *others, rule))


@given(st.lists(RULES, max_size=3), RULES)
@settings(deadline=None, max_examples=100)
def test_always_blames_what_stands_behind_a_rule_for_everybody(others: list[Rule], last: Rule) -> None:
    assert len(others) + 1 in never_matching((*others, Rule(order=ORDER), last))
