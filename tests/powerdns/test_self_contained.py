"""A real PowerDNS that brings its own geodns: `pipe-command=geodns pipe --config FILE`, and nobody has started a daemon."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest
from tests.powerdns.pdns import Pdns, needs_pdns, run_pdns
from tests.shims import end_daemons, find_daemons, wait_until
from tests.world import write_world

pytestmark = needs_pdns("pipe")
START = 20.0  # seconds that a daemon may take to start beside other tests
THREADS = 3
CONFIG = """
server: {{control: off, state: {folder}/state}}
geoip: {{database: world.mmdb}}
datacenters:
  ams: {{coordinates: [52.37, 4.90]}}
  nyc: {{coordinates: [40.71, -74.01]}}
services:
  www: {{check: off, pools: {{ams: [192.0.2.1], nyc: [192.0.2.2]}}}}
zones:
  example.com:
    ns: [ns1]
    records:
      www: {{service: www}}
      ns1: {{A: 192.0.2.53}}
"""
PDNS = f"""
launch=pipe
pipe-abi-version=5
edns-subnet-processing=yes
zone-cache-refresh-interval=0
cache-ttl=0
query-cache-ttl=20
negquery-cache-ttl=5
consistent-backends=no
disable-axfr=yes
distributor-threads={THREADS}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration; its daemons are ended."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    world = {"0.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]}}
    (tmp_path / "world.mmdb").write_bytes(write_world(world, build_epoch=int(time.time())))
    path = tmp_path / "geodns.yaml"
    path.write_text(CONFIG.format(folder=tmp_path))
    yield path
    end_daemons(path)


@pytest.fixture
def pdns(config: Path, tmp_path: Path) -> Iterator[Pdns]:
    """PowerDNS, as soon as it answers anything."""
    (tmp_path / "pdns").mkdir()
    command = f"{Path(sys.executable).with_name('geodns')} pipe --config {config}"
    with ExitStack() as stack:
        yield stack.enter_context(run_pdns(tmp_path / "pdns", f"{PDNS}pipe-command={command}\n"))


def ask(pdns: Pdns) -> str:
    """The address that a client in France gets, or why it gets none."""
    query = dns.message.make_query("www.example.com.", "A", use_edns=0, options=[dns.edns.ECSOption("20.1.2.0", 24)])
    reply = pdns.ask(query)
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    return str(reply.answer[0][0]) if reply.answer else "NODATA"


def await_answer(pdns: Pdns) -> None:
    """Ask until every thread has the answer; until then it is SERVFAIL and nothing else."""

    def all_answer() -> bool:
        seen = {ask(pdns) for _ in range(2 * THREADS)}
        assert seen <= {"192.0.2.1", "SERVFAIL"}
        return seen == {"192.0.2.1"}

    wait_until(all_answer, START)


def find_shims(parent: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{parent}/task").glob("*/children") for child in task.read_text().split()]


def test_one_daemon_for_all_threads_which_comes_back_and_outlives_them(pdns: Pdns, config: Path) -> None:
    await_answer(pdns)
    (daemon,) = find_daemons(config)
    assert pdns.log().count("info answering on ") == 1
    assert len(find_shims(pdns.pid)) == THREADS + 1  # one for TCP

    os.kill(daemon, signal.SIGKILL)
    await_answer(pdns)
    (other,) = find_daemons(config)
    assert other != daemon

    shims = find_shims(pdns.pid)
    os.kill(pdns.pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{shim}").exists() for shim in shims), 3.0)
    assert find_daemons(config) == [other]  # until nobody has come for a while


def test_a_powerdns_that_is_started_again_finds_the_daemon_of_before(pdns: Pdns, config: Path, tmp_path: Path) -> None:
    await_answer(pdns)
    before = find_daemons(config)
    pdns.stop()
    (tmp_path / "again").mkdir()
    with run_pdns(tmp_path / "again", (tmp_path / "pdns" / "pdns.conf").read_text()) as again:
        assert ask(again) == "192.0.2.1"  # at once
        assert find_daemons(config) == before
        assert "info answering on " not in again.log()
