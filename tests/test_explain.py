"""What is explained is what is served: agreement by property, words by example."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from ipaddress import ip_address, ip_network

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from geodns.answer import UDP, Turn, answer
from geodns.compiler.naming import name_parts
from geodns.compiler.orders import build_ordering
from geodns.explain import Question, explain, parse_question
from geodns.explanation import Decision, Explanation, Match
from geodns.geo.distance import build_sites, rank_sites
from geodns.health.state import Condition, Health, Verdict
from geodns.locate import Scene, address_of, describe, find_rule
from geodns.lookup import find_order, read_tiers
from geodns.metrics import new_tally

from .scenes import build_scene, with_health

NAMES = (
    *("example.com", "www", "several", "same", "cdn", "even", "odd", "shy", "loud", "alias", "away", "round", "about"),
    *("mail", "x.apps", "b", "a.b", "nope", "sub", "x.sub", "x.sub2", "ns1", "*.apps"),
)
TYPES = ("A", "AAAA", "MX", "CNAME", "TXT", "NS", "SOA", "DS", "ANY", "HTTPS")
DOWN = Condition(Verdict.DOWN)
DRAINED = Condition(drained=True)
HALF = 30  # cells per half of the draw: every total of weights in the scene divides it


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build_scene(tmp_path_factory.mktemp("scene"))


def full(name: str) -> str:
    return name if name.endswith("example.com") else f"{name}.example.com"


def ask(
    scene: Scene, name: str, rtype: str = "A", client: str | None = "64.9.9.9", peer: str | None = "192.0.2.1", draw: int = 0
) -> Explanation:
    return explain(scene, parse_question(full(name), rtype, client, peer, draw))


def decision_of(told: Explanation, hop: int = -1) -> Decision:
    found = told.hops[hop].decision
    assert found is not None
    return found


def serve(scene: Scene, question: Question, draw: int) -> dns.message.Message | None:
    """The reply by UDP, read by a decoder that is not ours."""
    options: list[dns.edns.Option] = []
    if question.subnet is not None:
        options.append(dns.edns.ECSOption(str(question.subnet.network_address), question.subnet.prefixlen, 0))
    name = dns.name.from_wire(question.owner, 0)[0]
    rtype = dns.rdatatype.RdataType.make(question.rtype)
    query = dns.message.make_query(name, rtype, use_edns=0, payload=4096, options=options, id=0, flags=0)
    turn = Turn(scene.snapshot, UDP, scene.settings, 0.0, new_tally(len(scene.snapshot.zones.pools)))
    reply = answer(turn, query.to_wire(), question.peer.packed, draw)
    return None if reply is None else dns.message.from_wire(reply)


def lines_of(section: list[dns.rrset.RRset]) -> list[str]:
    return [
        f"{rrset.name} {rrset.ttl} IN {dns.rdatatype.to_text(rrset.rdtype)} {rdata}" for rrset in section for rdata in rrset
    ]


def random_network(chance: random.Random) -> str:
    if chance.random() < 0.7:
        known = chance.choice(
            ["8.0.0.0/6", "64.0.0.0/8", "80.0.0.0/8", "80.7.0.0/16", "81.0.0.0/8", "129.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]
        )
    else:
        known = chance.choice(
            ["2a00::/16", "2a00:7::/32", "2400::/12", "64:ff9b::/96", "2002::/16", "::/0", "::ffff:0:0/96", "2001:db8::/32"]
        )
    network = ip_network(known)
    offset = (
        chance.getrandbits(network.max_prefixlen - network.prefixlen) if network.prefixlen < network.max_prefixlen else 0
    )
    address = network.network_address + offset
    length = chance.choice([network.max_prefixlen, chance.randint(0, network.max_prefixlen)])
    return str(ip_network((address, length), strict=False))


def random_health(scene: Scene, chance: random.Random) -> Health:
    conditions = [Condition(), DOWN, DRAINED, Condition(Verdict.UNKNOWN), Condition(until_flip=10.0)]
    return {
        (plan.service, plan.datacenter, member.text): chance.choice(conditions)
        for plan in scene.snapshot.zones.pools
        for member in plan.members
        if chance.random() < 0.6
    }


@pytest.mark.parametrize("seed", range(8))
def test_always_the_reply_that_is_served(scene: Scene, seed: int) -> None:
    """150 random questions a seed, under random health: the reply, and every record told before it, are the server's."""
    chance = random.Random(seed)
    for _ in range(150):
        here = with_health(scene, random_health(scene, chance)) if chance.random() < 0.7 else scene
        client = random_network(chance) if chance.random() < 0.8 else None
        peer = str(ip_network(random_network(chance)).network_address) if client is None or chance.random() < 0.5 else None
        draw = chance.getrandbits(64)
        question = parse_question(full(chance.choice(NAMES)), chance.choice(TYPES), client, peer, draw)
        told, served = explain(here, question), serve(here, question, draw)
        assert served is not None
        assert told.reply is not None
        assert told.reply.rcode == dns.rcode.to_text(served.rcode()), question
        assert told.reply.answer == tuple(lines_of(served.answer)), question
        assert told.reply.authority == tuple(lines_of(served.authority)), question
        assert told.reply.flags == tuple(dns.flags.to_text(served.flags).lower().split()), question
        check_steps(told, question)


def check_steps(told: Explanation, question: Question) -> None:
    """The steps lead to the reply: records, rcode, scope and, in every decision, the odds."""
    assert told.reply is not None
    if told.reply.rcode != "SERVFAIL":
        positive = [hop for hop in told.hops if hop.outcome in {"records", "alias"}]
        assert tuple(record for hop in positive for record in hop.records) == told.reply.answer, question
        negative = told.hops[-1] if told.hops[-1].outcome in {"nodata", "nxdomain", "referral"} else None
        assert (negative.records if negative else ()) == told.reply.authority, question
    used = any(hop.decision and hop.decision.client_why.startswith(("the client", "the IPv4")) for hop in told.hops)
    if used:
        assert told.reply.scope == max(hop.scope for hop in told.hops), question
    for hop in told.hops:
        decision = hop.decision
        while decision is not None:
            check_odds(decision)
            decision = decision.fallback


def check_odds(decision: Decision) -> None:
    nobody = decision.taken == "nothing" or (decision.taken == "all_down" and "the first tier" not in decision.taken_why)
    assert sum(step.share for step in decision.steps) == pytest.approx(0 if nobody else 1)
    for step in decision.steps:
        mine = [candidate.first for candidate in decision.candidates if candidate.datacenter == step.datacenter]
        assert not mine or sum(mine) == pytest.approx(step.share)


def first_records(scene: Scene, question: Question) -> Counter[str]:
    """How often each record stands first, over one draw in every cell of a grid: exact, since all totals divide it."""
    seen: Counter[str] = Counter()
    for high in range(HALF):
        for low in range(HALF):
            draw = (((2 * high + 1) << 32) // (2 * HALF)) << 32 | ((2 * low + 1) << 32) // (2 * HALF)
            reply = serve(scene, question, draw)
            assert reply is not None
            records = lines_of(reply.answer)
            seen[records[-1 if question.owner.startswith(b"\x05alias") else 0].split()[-1] if records else "none"] += 1
    return seen


@pytest.mark.parametrize(
    ("name", "client", "health"),
    [
        ("www", "64.9.9.9", {}),
        ("www", "80.1.1.1", {}),  # a weighted tier
        ("www", "80.1.1.1", {("www", "nyc", "198.51.100.10"): DOWN, ("www", "nyc", "198.51.100.11"): DOWN}),
        ("same", "64.9.9.9", {}),
        ("odd", "64.9.9.9", {("odd", "ams", "192.0.2.50"): DOWN, ("odd", "sin", "203.0.113.50"): DOWN}),
        ("alias", "80.1.1.1", {}),
    ],
)
def test_always_the_odds_of_the_draw(scene: Scene, name: str, client: str, health: Health) -> None:
    here = with_health(scene, health)
    question = parse_question(full(name), "A", client, "192.0.2.1", 0)
    decision = decision_of(explain(here, question))
    while decision.fallback is not None:
        decision = decision.fallback
    if name == "alias":  # its draw is mixed, so that no grid falls on the weights exactly
        assert set(first_records(here, question)) == {
            candidate.member for candidate in decision.candidates if candidate.first
        }
        return
    odds = {member: Fraction(count, HALF * HALF) for member, count in first_records(here, question).items()}
    assert odds == {
        candidate.member: Fraction(candidate.first).limit_denominator(1000)
        for candidate in decision.candidates
        if candidate.first
    }


@pytest.mark.parametrize("seed", range(4))
def test_always_the_rule_and_the_distances_that_made_the_order(scene: Scene, seed: int) -> None:
    """From the rule and the distances that are told, the compiler's law gives the order that the table holds."""
    chance = random.Random(seed)
    for _ in range(200):
        network = ip_network(random_network(chance))
        bits, number = network.max_prefixlen, int(network.network_address)
        for table, (_, members) in zip(scene.snapshot.maps.tables, name_parts(scene.config).tables, strict=True):
            order, _, used_bits, used = find_order(table, (bits, number, bits, bits, number), 0, 0)
            address = address_of(used_bits, used)
            place = describe(scene, address)
            index = find_rule(scene.config, table.map_name, address, place)
            rule = None if index is None else scene.config.maps[table.map_name].rules[index]
            ordering = build_ordering(scene.config, table.map_name, members)
            ranking = (
                () if place.coordinates is None else rank_sites(*place.coordinates, build_sites(scene.config.datacenters))
            )
            expected = ordering.row(ranking, rule)
            found = [step for tier in read_tiers(table, order) for step, _ in tier]
            assert found == [step for step, _ in expected], (network, table.map_name, place)


@pytest.mark.parametrize(
    ("name", "rtype", "match", "outcome", "words"),
    [
        ("www", "A", Match.EXACT, "records", "A of ams, service www"),
        ("www", "AAAA", Match.EXACT, "records", "AAAA of ams, service www"),
        ("www", "MX", Match.EXACT, "nodata", "no MX: the name has service www, which has members of other types only"),
        ("x.apps", "A", Match.WILDCARD, "records", "A of ams, service www"),
        ("b", "A", Match.EMPTY, "nodata", "no A: the name holds nothing; resolvers remember that for 60 s"),
        ("nope", "A", Match.MISSING, "nxdomain", "nothing of any type; resolvers remember that for 60 s"),
        ("x.sub", "A", Match.DELEGATED, "referral", "the name servers of sub.example.com. know more"),
        ("mail", "A", Match.EXACT, "records", "A as written in the zone, ttl 3600, the same for everybody"),
        ("mail", "ANY", Match.EXACT, "records", "ANY is answered with one HINFO, RFC 8482 4.2"),
        ("mail", "TXT", Match.EXACT, "nodata", "no TXT: the name has A; resolvers remember that for 60 s"),
        ("alias", "CNAME", Match.EXACT, "records", "CNAME as written in the zone, ttl 300, the same for everybody"),
        ("cdn", "ANY", Match.EXACT, "records", "CNAME of ams, service cdn"),
    ],
)
def test_each_result_has_its_words(scene: Scene, name: str, rtype: str, match: Match, outcome: str, words: str) -> None:
    hop = ask(scene, name, rtype).hops[0]
    assert (hop.match, hop.outcome) == (match, outcome)
    assert hop.outcome_why.startswith(words)


def test_a_foreign_name_is_refused_and_the_zones_are_named(scene: Scene) -> None:
    hop = explain(scene, parse_question("a.org", "A", "64.9.9.9", None, 0)).hops[0]
    assert (hop.match, hop.outcome, hop.zone) == (Match.OUTSIDE, "refused", None)
    assert hop.match_why == "in none of our zones (example.com., sub2.example.com.)"


def test_a_chain_is_told_name_by_name(scene: Scene) -> None:
    told = ask(scene, "alias")
    assert [hop.name for hop in told.hops] == ["alias.example.com.", "www.example.com."]
    assert told.hops[0].outcome_why == "the name is an alias of www.example.com., which is ours, so we go on"


def test_a_chain_that_leaves_our_zones_ends_there(scene: Scene) -> None:
    (hop,) = ask(scene, "away").hops
    assert (
        hop.outcome_why
        == "the name is an alias of www.example.org., which is in none of our zones: resolvers go on from there"
    )


def test_a_loop_is_called_a_loop(scene: Scene) -> None:
    told = ask(scene, "round")
    assert [hop.name for hop in told.hops] == ["round.example.com.", "about.example.com."]
    assert "a loop" in told.hops[-1].outcome_why


def test_a_datacenter_without_the_type_is_named(scene: Scene) -> None:
    told = ask(scene, "www", "AAAA", client="8.8.8.8")
    words = "no AAAA: no member of nyc is of that type; other datacenters of service www have some"
    assert told.hops[0].outcome_why == words


@pytest.mark.parametrize(
    ("name", "health", "taken", "why"),
    [
        ("www", {}, "pass 1", "ams, the first whose pool is up"),
        (
            "shy",
            {("shy", "ams", "192.0.2.60"): DRAINED},
            "pass 3",
            "ams, nothing is live; the first that has a drained member",
        ),
        ("shy", {("shy", "ams", "192.0.2.60"): DOWN}, "all_down", "every member is down, and then there is no data"),
        ("loud", {("loud", "ams", "192.0.2.70"): DOWN}, "all_down", "every member is down, and then the server fails"),
        (
            "several",
            {("several", "ams", "192.0.2.20"): DOWN, ("several", "ams", "192.0.2.22"): DOWN},
            "pass 2",
            "ams, no pool is up; the first that has a live member",
        ),
        (
            "several",
            {("several", "ams", f"192.0.2.2{i}"): DOWN for i in range(3)},
            "all_down",
            "ams, since every member is down: the first tier answers as if it were up",
        ),
        (
            "even",
            {("even", "ams", "192.0.2.40"): DOWN, ("even", "nyc", "198.51.100.40"): DOWN},
            "all_down",
            "every member is down, and then these addresses answer",
        ),
    ],
)
def test_the_pass_is_named(scene: Scene, name: str, health: Health, taken: str, why: str) -> None:
    decision = decision_of(ask(with_health(scene, health), name))
    assert decision.taken == taken
    assert decision.taken_why.startswith(why)


def test_a_fallback_is_told_in_full(scene: Scene) -> None:
    health = {("odd", "ams", "192.0.2.50"): DOWN, ("odd", "sin", "203.0.113.50"): DOWN}
    told = ask(with_health(scene, health), "odd")
    decision = decision_of(told)
    assert decision.fallback is not None
    assert (decision.fallback.service, decision.fallback.map) == ("even", "calm")
    assert told.hops[0].outcome_why == "A of nyc, service even"


def test_an_order_without_datacenters_is_told(scene: Scene) -> None:
    hop = ask(scene, "odd", client="129.0.0.1", peer="64.0.0.1").hops[0]
    assert hop.decision is not None
    assert hop.decision.rule == "rule 3 (continent SA), and nothing else"
    assert hop.outcome_why == "no A: the order names none of the service's datacenters: no data"


@pytest.mark.parametrize(
    ("client", "peer", "network", "why"),
    [
        ("64.9.9.0/24", "192.0.2.1", "64.9.9.0/24", "the client subnet of the query"),
        (None, "64.9.9.9", "64.9.9.9", "the peer: the query carries no client subnet"),
        ("64.9.9.9", "8.8.8.8", "8.8.8.8", "the peer: client subnets are not believed from 8.8.8.8"),
        ("0.0.0.0/0", "64.9.9.9", "64.9.9.9", "the peer: a subnet of /0 asks for privacy, RFC 7871 7.1.2"),
        ("172.16.0.0/16", "64.9.9.9", "64.9.9.9", "the peer: 172.16.0.0/16 is special and says nothing of a place"),
        ("64:ff9b::4009:900/120", "192.0.2.1", "64.9.9.0/24", "the IPv4 network inside 64:ff9b::4009:900/120"),
        ("2002:4009:900::/40", "192.0.2.1", "64.9.9.0/24", "the IPv4 network inside 2002:4009:900::/40"),
        ("2002::/20", "64.9.9.9", "64.9.9.9", "the peer: 2002::/20 says nothing of a place"),
        (
            None,
            "64:ff9b::4009:909",
            "64.9.9.9",
            "the peer (IPv4 inside 64:ff9b::4009:909): the query carries no client subnet",
        ),
    ],
)
def test_whose_address_counts_is_told(scene: Scene, client: str | None, peer: str, network: str, why: str) -> None:
    decision = decision_of(ask(scene, "www", client=client, peer=peer))
    assert (decision.client, decision.client_why) == (network, why)


@pytest.mark.parametrize(
    ("name", "client", "scope", "why"),
    [
        ("www", "64.9.9.9", 4, "the widest prefix round the client inside the range"),
        ("even", "64.9.9.9", 0, "the order is the same for all clients of both families"),
        ("same", "64.9.9.9", 24, "sticky choice knows clients by /24, which is longer than the range's /4"),
        ("www", "172.16.0.0/16", 12, "the subnet's own range, 172.16.0.0-172.31.255.255, where the peer decides"),
        (
            "www",
            "2002:4009:900::/48",
            20,
            "the widest prefix round the client inside the range, plus 16 bits before the IPv4 address",
        ),
        ("www", "2002::/20", 24, "20 bits do not reach the IPv4 address that begins at bit 16: the peer decides for 16 + 8"),
        ("www", "::1:2:3:4/128", 128, "no IPv4 address of a known form"),
    ],
)
def test_the_scope_has_its_reason(scene: Scene, name: str, client: str, scope: int, why: str) -> None:
    decision = decision_of(ask(scene, name, client=client))
    assert decision.scope == scope
    assert decision.scope_why.startswith(why)


def test_a_short_ttl_names_the_pool_that_may_change(scene: Scene) -> None:
    health = {("www", "ams", "192.0.2.10"): Condition(until_flip=10.0)}
    decision = decision_of(ask(with_health(scene, health), "www"))
    assert (decision.ttl, decision.ttl_why) == (10, "out of 5-60, since ams may change by then")
    assert decision_of(ask(scene, "www")).ttl_why == "the longest of 5-60, since no member is about to change"
    assert decision_of(ask(scene, "same")).ttl_why == "service same has this one number"


def test_a_pool_that_is_passed_over_can_make_the_ttl_short(scene: Scene) -> None:
    health = {("www", "ams", member): Condition(Verdict.DOWN, until_flip=15.0) for member in ("192.0.2.10", "192.0.2.11")}
    decision = decision_of(ask(with_health(scene, health), "www"))
    assert decision.steps[0].pool == "live"
    assert (decision.ttl, decision.ttl_why) == (15, "out of 5-60, since ams may change by then")


def test_members_show_their_state_and_odds(scene: Scene) -> None:
    health = {("www", "ams", "192.0.2.11"): Condition(Verdict.UNKNOWN)}
    found = decision_of(ask(with_health(scene, health), "www")).candidates
    assert [(c.member, c.weight, c.state, c.first) for c in found] == [
        ("192.0.2.10", 3, "up", 0.6),
        ("192.0.2.11", 2, "unknown", 0.4),
    ]


def test_several_answers_show_who_is_in_the_reply(scene: Scene) -> None:
    found = decision_of(ask(scene, "several")).candidates
    assert [round(c.first, 3) for c in found] == [0.5, 0.167, 0.333]
    assert sum(c.in_reply or 0 for c in found) == pytest.approx(2)


def test_sticky_choice_is_certain(scene: Scene) -> None:
    told = ask(scene, "same", draw=5)
    assert told.certain
    assert told.reply == ask(scene, "same", draw=6).reply
    assert sorted(c.in_reply or 0 for c in decision_of(told).candidates) == [0, 1, 1]


def test_a_choice_is_not_certain(scene: Scene) -> None:
    assert not ask(scene, "www").certain
    assert ask(scene, "shy").certain
    assert ask(scene, "mail").certain


def test_the_place_tells_its_source(scene: Scene) -> None:
    located = decision_of(ask(scene, "www", client="81.2.3.4")).located
    assert (located.country, located.network, located.source) == ("JP", "81.0.0.0/8", "world.mmdb")
    assert located.coordinates_from == "the centre of JP"
    corrected = decision_of(ask(scene, "www", client="64.1.2.3")).located
    assert (corrected.country, corrected.source, corrected.coordinates_from) == (
        "FR",
        "geoip.networks over world.mmdb",
        "corrected",
    )
    stands = decision_of(ask(scene, "www", client="10.1.2.3")).located
    assert stands.coordinates_from == "corrected: stands where ams stands"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("www.example.com", "A", None, None), "is needed"),
        (("www.example.com", "A", "1.2.3", None), "--client: '1.2.3' is neither an address nor ADDRESS/BITS"),
        (("www.example.com", "A", "1.2.3.4/33", None), "--client: '1.2.3.4/33' is neither"),
        (("www.example.com", "A", "1.2.3.4", "x"), "--peer: 'x' is not an address"),
        (("www.example.com", "BOGUS", "1.2.3.4", None), "TYPE: 'BOGUS' is no record type"),
        (("www..example.com", "A", "1.2.3.4", None), "NAME: "),
        (("x" * 64 + ".example.com", "A", "1.2.3.4", None), "NAME: "),
    ],
)
def test_what_is_no_question_is_told_in_one_line(arguments: tuple[str, str, str | None, str | None], words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        parse_question(*arguments, 0)
    assert words in str(caught.value)


def test_the_peer_is_the_client_unless_it_is_given() -> None:
    assert parse_question("a.example.com", "A", "64.9.9.9/24", None, 0).peer == ip_address("64.9.9.9")
    assert str(parse_question("a.example.com", "A", "64.9.9.9/24", None, 0).subnet) == "64.9.9.0/24"
