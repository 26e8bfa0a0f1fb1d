"""The table of differences excuses what it says and nothing else, and operators read the same table."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.powerdns.differences import DIFFERENCES, NOERROR, NXDOMAIN, SERVFAIL, Asked, Outcome, Record, find_reasons

GUIDE = Path(__file__).parents[2] / "docs/guide/powerdns.md"
HEAD = "| what | PowerDNS, and geodns by itself |"
ASKED = Asked("www.example.com.", "A", 16, believed=True)
A = Record("www.example.com.", "A", "192.0.2.1", 30)
SOA = Record("example.com.", "SOA", "ns1.example.com. hostmaster.example.com. 1 2 3 4 60", 60)
FOUND = Outcome(NOERROR, aa=True, tc=False, answer=(A,), authority=(), additional=(), scope=4)
NOTHING = FOUND._replace(answer=(), authority=(SOA,))
ALIAS = Record("www.example.com.", "CNAME", "edge.example.net.", 30)


def test_the_guide_has_the_same_rows() -> None:
    _, _, after = GUIDE.read_text().partition(HEAD + "\n")
    rows = after.partition("\n\n")[0].splitlines()[1:]
    assert rows == [f"| {row.title} | {row.reason} |" for row in DIFFERENCES]


@pytest.mark.parametrize("outcome", [FOUND, NOTHING, NOTHING._replace(rcode=NXDOMAIN)])
def test_what_is_the_same_needs_no_reason(outcome: Outcome) -> None:
    assert find_reasons(ASKED, outcome, outcome) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (FOUND, FOUND._replace(answer=(A._replace(rdata="192.0.2.2"),))),
        (FOUND, FOUND._replace(answer=(A._replace(ttl=29),))),
        (FOUND, FOUND._replace(answer=(A, A._replace(rdata="192.0.2.2")))),
        (FOUND, FOUND._replace(aa=False)),
        (FOUND, FOUND._replace(tc=True)),
        (FOUND, FOUND._replace(scope=1)),  # another client would be given this answer
        (FOUND, FOUND._replace(scope=0)),
        (FOUND, FOUND._replace(scope=None)),
        (FOUND._replace(scope=0), FOUND),
        (FOUND, NOTHING),
        (NOTHING, FOUND),
        (FOUND, NOTHING._replace(rcode=SERVFAIL, authority=())),
        (NOTHING, NOTHING._replace(rcode=NXDOMAIN)),
        (NOTHING._replace(rcode=NXDOMAIN), NOTHING),
        (NOTHING, NOTHING._replace(rcode="REFUSED", authority=(), aa=False)),
        (NOTHING, NOTHING._replace(scope=5)),
        (NOTHING, NOTHING._replace(authority=(SOA._replace(ttl=61, rdata=SOA.rdata.replace(" 1 ", " 9 ")),))),
        (NOTHING, NOTHING._replace(authority=(SOA._replace(ttl=59),))),
        (NOTHING, NOTHING._replace(authority=())),
        (FOUND, FOUND._replace(authority=(SOA,))),
        (FOUND, FOUND._replace(additional=(SOA,))),
        (FOUND._replace(additional=(A,)), FOUND),
        (FOUND._replace(answer=(ALIAS,)), NOTHING._replace(rcode=SERVFAIL, authority=())),  # no loop
        (FOUND._replace(answer=(ALIAS,)), FOUND._replace(answer=(ALIAS, A))),  # no long chain
    ],
)
def test_what_no_row_is_about_is_not_excused(ours: Outcome, theirs: Outcome) -> None:
    assert find_reasons(ASKED, ours, theirs) is None


@pytest.mark.parametrize(
    "theirs",
    [
        FOUND._replace(scope=1, rcode=SERVFAIL),
        FOUND._replace(scope=1, answer=(A._replace(rdata="192.0.2.2"),)),
        FOUND._replace(scope=1, tc=True),
    ],
)
def test_a_reason_for_one_field_is_none_for_another(theirs: Outcome) -> None:
    """Scope 0 shown as 1 is excused; not together with another answer."""
    ours = FOUND._replace(scope=0)
    reasons = find_reasons(ASKED, ours, FOUND._replace(scope=1))
    assert reasons is not None
    assert [row.title for row in reasons] == ["Scope 0 shown as 1"]
    assert find_reasons(ASKED, ours, theirs) is None
