"""The process that probes dies: answers stay, it is said, nobody's verdict changes, and it is started again."""

from __future__ import annotations

import os
import signal

from tests.operation.sites import Operated, free_port, prober_of, until
from tests.test_daemon import running


def test_killed_once_it_is_replaced_and_nothing_moves(site: Operated) -> None:
    with running(site) as daemon:
        first = prober_of(daemon)
        os.kill(first, signal.SIGKILL)
        assert site.www() == ["127.0.1.1"]
        line = daemon.wait_for("the prober was killed by SIGKILL")
        assert "error the prober" in line
        assert "verdicts are frozen, it is started again in 0.1 s" in line
        assert "error probes have stopped: verdicts of 3 targets stay as they are" in daemon.wait_for("probes have stopped")
        daemon.wait_for("probes run again after")
        assert prober_of(daemon) != first
        site.webs["ams"].kill()
        until(lambda: site.www() == ["127.0.1.2"])
        assert not any("127.0.1.2: up to" in line for line in daemon.lines)


def test_while_it_does_not_run_verdicts_are_frozen_and_status_and_metrics_say_so(site: Operated) -> None:
    """It is stopped, not killed, so that nothing replaces it: then a target dies, and nobody notices."""
    site.http = free_port()
    site.write()
    with running(site) as daemon:
        prober = prober_of(daemon)
        until(lambda: site.status()["prober"]["lateness"] is not None or site.status()["prober"]["running"])
        os.kill(prober, signal.SIGSTOP)
        requests = site.webs["nyc"].requests
        site.webs["ams"].kill()
        # It has 10 s to give a sign of life; then it is killed, and its successor sees who died.
        daemon.wait_for("the prober has said nothing for 10 s")
        assert site.www() == ["127.0.1.1"], "nobody looked, nothing changed"
        assert site.webs["nyc"].requests <= requests + 1
        until(lambda: site.www() == ["127.0.1.2"])
        assert site.status()["prober"]["restarts"] == 1
        until(lambda: site.metrics()["geodns_prober_restarts_total"] == 1)
        until(lambda: site.metrics()["geodns_prober_running"] == 1)


def test_killed_again_and_again_the_daemon_says_that_it_stands_still(site: Operated) -> None:
    site.http = free_port()
    site.write()
    with running(site) as daemon:
        for pause in ("0.1", "0.2", "0.4", "0.8", "1.6"):
            os.kill(prober_of(daemon), signal.SIGKILL)
            daemon.wait_for(f"it is started again in {pause} s")
        prober = site.status()["prober"]
        assert not prober["running"]
        assert site.metrics()["geodns_prober_running"] == 0
        assert site.www() == ["127.0.1.1"]
        assert set(site.verdicts().values()) == {"up"}
        said = site.geodns("status").stdout
        assert "STOPPED" in said
        until(lambda: bool(site.status()["prober"]["running"]))


def test_the_prober_ends_with_a_daemon_that_is_killed(site: Operated) -> None:
    with running(site) as daemon:
        prober = prober_of(daemon)
        daemon.send(signal.SIGKILL)
        daemon.end()

    def gone() -> bool:
        try:
            os.kill(prober, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{prober}/stat") as file:  # noqa: PTH123 - it may be a zombie that nobody waits for
            return file.read().rpartition(")")[2].split()[0] == "Z"

    until(gone)
