"""Why a client gets the answer that it gets, told step by step by calling the functions that serve it.

Knows the steps: the name among the names that exist, the service's decision (`explain_service`), the CNAME chain, the
reply. Every status, record and TTL comes from `lookup` and `answer`, with the same snapshot, client and draw; what is
added here are the words. Knows nothing of terminals.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from .answer import LONGEST_CHAIN, TCP, Turn, answer
from .compiler.zones.presentation import parse_qtype, type_text
from .config.model import Address, Network
from .errors import WireError
from .explain_name import asked_of_service, is_ours, tell_match, tell_records, tell_static, trace_name
from .explain_reply import read_reply, write_query
from .explain_service import Asker, tell_result, tell_service
from .explanation import Explanation, Hop
from .locate import Scene
from .lookup import ALIAS, FAILED, NODATA, NXDOMAIN, RECORDS, REFERRAL, REFUSED, find
from .metrics import new_tally
from .pick import hop_word
from .wire.name import name_text, parse_name_text
from .wire.rdata import rdata_of

OUTCOMES = {
    RECORDS: "records",
    ALIAS: "alias",
    NODATA: "nodata",
    NXDOMAIN: "nxdomain",
    REFERRAL: "referral",
    REFUSED: "refused",
    FAILED: "servfail",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, for whom, by whom, and the chance that decides."""

    owner: bytes  # wire form, lower case
    rtype: int
    subnet: Network | None
    peer: Address
    draw: int  # 64 bits


def parse_question(name: str, rtype: str, client: str | None, peer: str | None, draw: int) -> Question:
    """A question from what people write. Raises ValueError, in one line, for what is none."""
    try:
        owner = parse_name_text(name).lower()
    except WireError as error:
        raise ValueError(f"NAME: {error}") from error
    if client is None and peer is None:
        raise ValueError("--client ADDRESS[/BITS] or --peer ADDRESS is needed: the answer depends on who asks")
    subnet = None if client is None else _parse_subnet(client)
    asker = _parse_address(client.partition("/")[0] if peer is None and client is not None else peer or "")
    return Question(owner, parse_qtype(rtype), subnet, asker, draw)


def _parse_subnet(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"--client: {text!r} is neither an address nor ADDRESS/BITS") from None


def _parse_address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"--peer: {text!r} is not an address") from None


def explain(scene: Scene, question: Question) -> Explanation:
    """One question, told from the name to the reply. Raises DatabaseError."""
    asker = Asker.of(scene.settings, question.subnet, question.peer)
    hops = tuple(_tell_hops(scene, question, asker))
    tally = new_tally(len(scene.snapshot.zones.pools))
    turn = Turn(scene.snapshot, TCP, scene.settings, time.time(), tally)  # TCP: where dig would end up with a long one
    query = write_query(question.owner, question.rtype, question.subnet)
    reply = answer(turn, query, question.peer.packed, question.draw)
    return Explanation(
        name_text(question.owner),
        type_text(question.rtype),
        None if question.subnet is None else str(question.subnet),
        str(question.peer),
        question.draw,
        all(hop.decision is None or hop.decision.certain for hop in hops),
        hops,
        None if reply is None else read_reply(reply),
    )


def _tell_hops(scene: Scene, question: Question, asker: Asker) -> Iterator[Hop]:
    """The name asked, then each target of a CNAME inside our zones, as `answer` follows them."""
    owner, seen = question.owner, {question.owner}
    for number in range(LONGEST_CHAIN + 1):
        hop, target = _tell_hop(scene, owner, question.rtype, asker, hop_word(question.draw, number))
        if target is None:
            yield hop
            return
        if number == LONGEST_CHAIN:
            yield replace(
                hop, outcome_why=f"a chain of more than {LONGEST_CHAIN}: the CNAMEs before are the answer", records=()
            )
            return
        ours, again = is_ours(scene.snapshot.zones, target), target in seen
        yield replace(hop, outcome_why=f"the name is an alias of {name_text(target)}, {_tell_target(ours, again)}")
        if again or not ours:
            return
        seen.add(target)
        owner = target


def _tell_hop(scene: Scene, owner: bytes, rtype: int, asker: Asker, draw: int) -> tuple[Hop, bytes | None]:
    """One name, told; and the target of the CNAME that is answered instead of the type asked, if there is one."""
    zones = scene.snapshot.zones
    status, zone, found, scope, pool = find(scene.snapshot, owner, rtype, asker.client, draw)
    match, node = trace_name(zones, owner)
    asked = asked_of_service(match, node, rtype)
    decision = None
    if asked is not None and node is not None and node.service is not None:
        decision = tell_service(scene, node.service, asked, asker, draw)
        why = tell_result(scene, status, type_text(asked), decision, pool)
    else:
        why = "" if status == ALIAS else tell_static(status, rtype, node, found)
    hop = Hop(
        name=name_text(owner),
        zone=None if zone is None else name_text(zone.apex),
        match=match,
        match_why=tell_match(zones, match, node, zone),
        decision=decision,
        outcome=OUTCOMES[status],
        outcome_why=why,
        records=tuple(tell_records(owner, zone, status, found)),
        scope=scope,
    )
    return hop, rdata_of(found[0]).lower() if status == ALIAS else None


def _tell_target(ours: bool, again: bool) -> str:
    if not ours:
        return "which is in none of our zones: resolvers go on from there"
    return "which was here before: a loop, the CNAMEs so far are the answer" if again else "which is ours, so we go on"
