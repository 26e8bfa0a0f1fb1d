"""The blind-checker guard, end to end: most targets drop every SYN at once, so it is our own network that failed."""

from __future__ import annotations

from tests.operation.sites import Operated, free_port, until
from tests.test_daemon import running


def test_when_most_fall_silent_verdicts_are_held_until_replies_come_back(site: Operated) -> None:
    site.http = free_port()
    site.write()
    with running(site) as daemon:
        assert site.www() == ["127.0.1.1"]
        site.webs["ams"].mute()
        site.webs["nyc"].mute()
        line = daemon.wait_for("Verdicts are held")
        assert " error IPv4: 2 of 3 targets that were up gave no reply within one interval, in ams, nyc" in line
        assert "this host itself seems cut off" in line
        ((family, _),) = site.status()["prober"]["frozen"]
        assert family == "IPv4"
        until(lambda: site.metrics()['geodns_prober_frozen{family="IPv4"}'] == 1)
        assert site.metrics()['geodns_prober_frozen{family="IPv6"}'] == 0
        assert "FROZEN" in site.geodns("status").stdout
        site.webs["sin"].kill()  # a refusal: it counts no more than silence does
        until(lambda: min(one["failures"] for one in probes(site).values()) >= 5)
        assert set(site.verdicts().values()) == {"up"}
        assert site.www() == ["127.0.1.1"]
        site.webs["ams"].unmute()
        daemon.wait_for("warning IPv4: probes get replies again after")
        assert site.status()["prober"]["frozen"] == []
        until(lambda: site.metrics()['geodns_prober_frozen{family="IPv4"}'] == 0)
        daemon.wait_for("www/nyc/127.0.1.2: up to down")  # it is silent in earnest, and says so by itself
        daemon.wait_for("www/sin/127.0.1.3: up to down")
        assert site.www() == ["127.0.1.1"]
        site.webs["nyc"].unmute()
        daemon.wait_for("www/nyc/127.0.1.2: down to up")


def test_after_freeze_limit_silence_is_believed(site: Operated) -> None:
    site.health = "freeze_limit: 2s"
    site.write()
    with running(site) as daemon:
        site.webs["ams"].mute()
        site.webs["nyc"].mute()
        daemon.wait_for("Verdicts are held, for at most 2 s")
        daemon.wait_for("error IPv4: still no replies after")
        until(lambda: site.www() == ["127.0.1.3"])
        assert site.status()["prober"]["frozen"] == []


def test_one_datacenter_that_falls_silent_is_down(site: Operated) -> None:
    with running(site) as daemon:
        site.webs["ams"].mute()
        assert "no connection within" in daemon.wait_for("www/ams/127.0.1.1: up to down")
        until(lambda: site.www() == ["127.0.1.2"])
        assert not any("Verdicts are held" in line for line in daemon.lines)


def probes(site: Operated) -> dict[str, dict[str, int]]:
    """What is known of each member's only check."""
    return {member["member"]: member["probes"][0] for pool in site.client.get("pools") for member in pool["members"]}
