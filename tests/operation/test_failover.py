"""Three web servers as datacenters: one dies, is known to be dead after a restart, is drained, and metrics tell the same."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import pytest
from tests.operation.sites import FALL, INTERVAL, PATIENCE, Daemon, Operated, free_port, until
from tests.test_daemon import running

AMS, NYC, SIN = ["127.0.1.1"], ["127.0.1.2"], ["127.0.1.3"]


def test_who_dies_is_left_within_interval_times_fall_and_a_second(site: Operated) -> None:
    with running(site) as daemon:
        assert site.www() == AMS
        site.webs["ams"].kill()
        took = until(lambda: site.www() == NYC)
        print(f"moved after {took:.2f} s")
        assert took <= INTERVAL * FALL + 1
        line = daemon.wait_for("www/ams/127.0.1.1: up to down")
        assert "2 failures in a row, connection refused" in line
        assert f"(http 127.0.1.1:{site.webs['ams'].port})" in line
        site.webs["nyc"].status = 500
        until(lambda: site.www() == SIN)
        assert "status 500" in daemon.wait_for("www/nyc/127.0.1.2: up to down")
        site.webs["ams"].start()
        until(lambda: site.www() == AMS)
        daemon.wait_for("www/ams/127.0.1.1: down to up")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_after_a_restart_the_first_answer_avoids_the_dead(site: Operated, number: int) -> None:
    """Its server hangs by then, so nothing but what was saved can tell; rise and fall go on where they were."""
    with running(site) as daemon:
        site.webs["ams"].kill()
        until(lambda: site.www() == NYC)
        until(lambda: '"down"' in (site.state / "states.json").read_text())
        daemon.send(number)
        assert daemon.end() == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    site.webs["ams"].hang()
    site.webs["ams"].start()
    with running(site) as daemon:
        assert site.www() == NYC
        assert site.verdicts() == {"127.0.1.1": "down", "127.0.1.2": "up", "127.0.1.3": "up"}
        site.webs["ams"].free()
        until(lambda: site.www() == AMS)


def test_drains_and_forced_states_survive_kill_9(site: Operated) -> None:
    with running(site) as daemon:
        site.override("drain", "ams", duration=3600)
        site.override("force", "www/nyc", kind="down", duration=3600)
        assert site.www() == SIN
        daemon.send(signal.SIGKILL)
        daemon.end()
    with running(site):
        assert site.www() == SIN
        assert {one["target"]: one["kind"] for one in site.client.get("overrides")} == {"ams": "drain", "www/nyc": "down"}
        site.override("force", "www/nyc", kind="clear", reason=None)
        assert site.www() == NYC
        site.client.post("undrain", {"target": "ams"})
        assert site.www() == AMS


def test_drain_for_a_while_gives_back_by_itself_and_metrics_tell_the_same(site: Operated) -> None:
    site.http = free_port()
    site.write()
    with running(site) as daemon:
        until(lambda: site.metrics()["geodns_member_up" + labels("ams", AMS)] == 1)
        done = site.geodns("drain", "ams", "--for", "3s", "--reason", "switch")
        began = time.monotonic()
        assert done.returncode == 0, done.stderr
        assert "www/ams  up -> drained" in done.stdout
        assert "www  ams -> nyc" in done.stdout
        assert site.www() == NYC
        until(lambda: site.metrics()["geodns_member_drained" + labels("ams", AMS)] == 1)  # a page is kept for a second
        told = site.metrics()
        assert told["geodns_member_up" + labels("ams", AMS)] == 1, "it is probed on, and up"
        assert told['geodns_pool_rank{datacenter="ams",service="www"}'] == 3
        assert told['geodns_overrides{kind="drain"}'] == 1
        until(lambda: site.www() == AMS)
        assert time.monotonic() - began > 1, "not before its time"
        daemon.wait_for("drain ams of")
        until(lambda: site.metrics()['geodns_overrides{kind="drain"}'] == 0)
        site.webs["ams"].kill()
        until(lambda: site.www() == NYC)
        until(lambda: site.metrics()["geodns_member_up" + labels("ams", AMS)] == 0)
        told = site.metrics()
        assert told['geodns_pool_rank{datacenter="ams",service="www"}'] == 4
        assert told['geodns_pool_rank{datacenter="nyc",service="www"}'] == 1
        assert told['geodns_transitions_total{check="web",verdict="down"}'] == 1
        assert told['geodns_probes_total{check="web",verdict="down"}'] >= FALL
        answered = {name: told[f'geodns_answers_total{{datacenter="{name}",service="www"}}'] for name in ("ams", "nyc")}
        assert all(count >= 1 for count in answered.values()), answered


def labels(datacenter: str, member: list[str]) -> str:
    return f'{{datacenter="{datacenter}",member="{member[0]}",service="www"}}'


def test_first_answer_waits_for_the_first_round_and_ready_says_when(site: Operated) -> None:
    """The dead one is known before anybody is answered: one result is enough for who was never seen before."""
    site.http = free_port()
    site.interval, site.health = 5.0, "startup_wait: 15s"
    site.write()
    site.webs["ams"].kill()
    site.webs["nyc"].hang()
    with closing(Daemon(site)) as daemon:
        until(lambda: site.webs["nyc"].requests > 0)
        assert site.fetch("/readyz") == (503, "not ready\n")
        assert site.fetch("/healthz") == (200, "ok\n")
        assert not any("answering on" in line for line in daemon.lines)
        site.webs["nyc"].free()
        daemon.wait_for("answering on")
        assert site.www() == NYC, "the first answer"
        until(lambda: site.fetch("/readyz") == (200, "ready\n"))
        assert not any("have no result" in line for line in daemon.lines)


def test_who_hangs_holds_up_the_start_for_startup_wait_at_most(site: Operated) -> None:
    site.interval, site.health = 30.0, "startup_wait: 2s"
    site.write()
    site.webs["ams"].hang()
    with running(site) as daemon:
        line = daemon.wait_for("have no result")
        assert "1 of 3 targets have no result after 2 s; who is missing is unknown, and answered" in line
        assert site.www() == AMS
        assert site.verdicts()["127.0.1.1"] == "unknown"


def test_the_start_is_ready_before_its_patience_is_over(site: Operated) -> None:
    site.health = "startup_wait: 7d"
    site.write()
    with running(site):
        assert site.www() == AMS
    assert PATIENCE < 7 * 86400
