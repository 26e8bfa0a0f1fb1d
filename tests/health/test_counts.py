"""What is counted of each check's probes."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from geodns.config.model_checks import IcmpCheck, TcpCheck
from geodns.health.counts import Counts
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target
from geodns.report import PROBE_BOUNDS

TCP, ICMP = TcpCheck(type="tcp", port=1), IcmpCheck(type="icmp")
durations = st.sampled_from(PROBE_BOUNDS) | st.floats(0, 20)


def target(name: str, check: TcpCheck | IcmpCheck = TCP) -> Target:
    return Target(f"{name} {check.type}", "s", check, name, "192.0.2.1", 1, "192.0.2.1", ("ams",))


def outcome(verdict: Verdict, seconds: float = 0.01) -> Outcome:
    return Outcome("k", verdict, True, "", seconds)


@given(st.lists(st.tuples(st.sampled_from(Verdict), durations), max_size=20))
def test_every_probe_is_in_one_bucket_of_its_verdict(probes: list[tuple[Verdict, float]]) -> None:
    counts = Counts()
    counts.keep([target("web")])
    for verdict, seconds in probes:
        counts.add("web", outcome(verdict, seconds))
    for row in counts.report():
        mine = [seconds for verdict, seconds in probes if verdict == row.verdict]
        assert (row.check, row.type, row.probes, row.transitions) == ("web", "tcp", len(mine), 0)
        assert sum(row.buckets) == len(mine)
        for number, bound in enumerate(PROBE_BOUNDS):
            up_to = sum(row.buckets[: number + 1])
            assert up_to == bisect_right(sorted(mine), bound), "up to each bound, the bound included"


def test_every_check_has_a_row_for_each_verdict_from_the_beginning() -> None:
    counts = Counts()
    counts.keep([target("web"), target("alive", ICMP), target("web")])
    assert [(row.check, row.type, row.verdict, row.probes) for row in counts.report()] == [
        (name, kind, str(verdict), 0) for name, kind in (("web", "tcp"), ("alive", "icmp")) for verdict in Verdict
    ]


def test_what_came_before_the_check_was_served_counts_and_what_is_gone_is_forgotten() -> None:
    counts = Counts()
    counts.add("web", outcome(Verdict.UP))
    counts.turn("web", Verdict.UP)
    assert counts.report() == ()
    counts.keep([target("web")])
    assert [(row.probes, row.transitions) for row in counts.report()] == [(1, 1), (0, 0), (0, 0)]
    counts.keep([target("other")])
    counts.keep([target("web")])
    assert [row.probes for row in counts.report()] == [0, 0, 0]
