"""Reloads of a daemon that watches: who survives keeps its health, and whatever is wrong changes nothing."""

from __future__ import annotations

import http.client
import json
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.operation.load import Load
from tests.operation.sites import PATIENCE, Daemon, Operated, free_port, prober_of, until
from tests.test_daemon import AMERICA, FRANCE, running
from tests.world import write_world

AMS, NYC, SIN = ["127.0.1.1"], ["127.0.1.2"], ["127.0.1.3"]


def test_who_stays_keeps_its_health_and_who_is_new_is_probed_once_before(site: Operated) -> None:
    """The member that stays hangs by then; the new one is down, and known to be before it is ever answered."""
    site.names = {"ams": "ams", "sin": "sin"}
    site.write()
    with running(site) as daemon:
        site.webs["ams"].kill()
        until(lambda: site.www() == SIN)
        prober = prober_of(daemon)
        site.webs["ams"].start()
        site.webs["ams"].hang()
        site.webs["nyc"].kill()
        site.names = {name: name for name in ("ams", "nyc", "sin")}
        site.write(static="192.0.2.77")
        answers = set()
        assert site.client.post("reload", {})["ok"]
        for _ in range(20):
            answers.add(site.www()[0])
        assert answers == set(SIN), "nyc is nearer, and was down before it came"
        assert site.ask() == ["192.0.2.77"]
        assert site.verdicts() == {"127.0.1.1": "down", "127.0.1.2": "down", "127.0.1.3": "up"}
        assert prober_of(daemon) == prober, "one and the same process"
        assert not any("127.0.1.1: unknown" in line for line in daemon.lines)


def test_with_every_datacenter_renamed_states_stay_and_overrides_are_kept_and_said(site: Operated) -> None:
    with running(site) as daemon:
        site.webs["ams"].kill()
        until(lambda: site.www() == NYC)
        site.override("drain", "nyc", duration=3600)
        assert site.www() == SIN
        requests = {name: web.requests for name, web in site.webs.items()}
        site.names = {name: f"new-{name}" for name in site.names}
        site.write()
        assert site.client.post("reload", {})["ok"]
        assert site.www() == NYC, "nobody is called nyc any more, and ams is still down"
        assert site.verdicts()["127.0.1.1"] == "down"
        assert all(web.requests <= requests[name] + 5 for name, web in site.webs.items()), "no round of first probes"
        assert "drain nyc of rob matches nothing; it is kept" in daemon.wait_for("matches nothing")
        assert [(one["target"], one["members"]) for one in site.client.get("overrides")] == [("nyc", 0)]
        site.names = {name: name for name in site.names}
        site.write()
        assert site.client.post("reload", {})["ok"]
        assert site.www() == SIN, "it counts again"
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    with running(site):
        assert site.www() == SIN


def test_what_is_wrong_changes_nothing_and_the_caller_sees_why(site: Operated) -> None:
    with running(site) as daemon:
        site.webs["ams"].kill()
        until(lambda: site.www() == NYC)
        site.write(static="192.0.2.77", broken=True)
        done = site.geodns("reload")
        assert done.returncode == 1
        assert f"{site.config}:" in done.stdout + done.stderr
        assert 'did you mean "www"?' in done.stdout + done.stderr
        assert "the running configuration is unchanged" in done.stdout + done.stderr
        assert (site.www(), site.ask()) == (NYC, ["192.0.2.9"])
        status = site.status()
        assert not status["config"]["reload_ok"]
        assert any("wwww" in line for line in status["config"]["reload_lines"])
        site.webs["ams"].start()
        until(lambda: site.www() == AMS)
        site.write(static="192.0.2.77")
        assert site.client.post("reload", {})["ok"]
        assert site.ask() == ["192.0.2.77"]
        assert site.status()["config"]["reload_ok"]
        assert len([line for line in daemon.lines if "answering on" in line]) == 1


def test_dry_run_and_max_move_say_who_would_move(site: Operated) -> None:
    """All placed addresses are in France: with America's world all of them move."""
    with running(site) as daemon:
        published = len([line for line in daemon.lines if "published:" in line])
        write_america(site)
        tried = site.geodns("reload", "--dry-run")
        assert tried.returncode == 0, tried.stderr
        assert "ams" in tried.stdout and "nyc" in tried.stdout and "100" in tried.stdout
        refused = site.geodns("reload", "--max-move", "10%")
        assert refused.returncode == 1
        assert "would change datacenter, at most 10.0 % may (--max-move)" in refused.stdout + refused.stderr
        assert not site.client.post("reload", {"dry_run": True, "max_move": 0.1})["ok"]
        assert site.www() == AMS
        assert len([line for line in daemon.lines if "published:" in line]) == published
        assert site.client.post("reload", {"max_move": 1.0})["ok"]
        assert site.www() == NYC
        assert site.client.post("reload", {"max_move": 0.0})["ok"], "nothing moves now"


def write_america(site: Operated) -> None:
    """Another world beside, in place by a rename: the database is watched, and must not be read half-written."""
    beside = site.folder / "beside.mmdb"
    beside.write_bytes(write_world(AMERICA, build_epoch=int(time.time())))
    text = site.config.read_text().replace("world.mmdb", "beside.mmdb")
    site.config.write_text(text)


def test_a_hundred_hang_ups_in_a_second_are_a_few_loads_and_lose_nothing(site: Operated) -> None:
    with running(site) as daemon, Load(site.port, 500) as load:
        for number in range(100):
            site.write(static=f"192.0.2.{100 + number}")
            daemon.send(signal.SIGHUP)
            time.sleep(0.01)
        until(lambda: site.ask() == ["192.0.2.199"])
        load.__exit__()
        assert load.lost == 0
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
        loads = [line for line in daemon.lines if "published: 1 zone" in line or "problem" in line]
        assert 2 <= len(loads) <= 10, "one at a time, and one that waits"
        assert "Traceback" not in "".join(daemon.lines)


@pytest.mark.parametrize("way", ["command", "signal"])
def test_every_reload_takes_a_new_token(site: Operated, way: str) -> None:
    """A token that leaked must be void when the reload has been asked for, by whatever way."""
    token = site.folder / "token"
    token.write_text("first-first-first\n")
    token.chmod(0o600)
    site.http, site.server = free_port(), f", api_token_file: {token}"
    site.write()
    with running(site) as daemon:
        assert drain_as(site, "first-first-first") == 200
        token.write_text("second-second-second\n")
        if way == "command":
            assert site.geodns("reload").returncode == 0
        else:
            daemon.send(signal.SIGHUP)
            until(lambda: drain_as(site, "second-second-second") == 200)
        assert drain_as(site, "first-first-first") == 401
        assert drain_as(site, "second-second-second") == 200
        token.unlink()
        assert site.geodns("reload").returncode == 0
        assert drain_as(site, "second-second-second") == 200, "a token that is gone is no reason to lock everybody out"
        daemon.wait_for("the token of before stays")


def drain_as(site: Operated, token: str) -> int:
    """The status of a drain over HTTP with *token*."""
    assert site.http is not None
    with closing(http.client.HTTPConnection("127.0.0.1", site.http, timeout=PATIENCE)) as connection:
        body = json.dumps({"target": "ams", "duration": 60, "dry_run": True})
        connection.request("POST", "/api/v1/drain", body, {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status


@pytest.mark.parametrize("way", ["rename", "symlink"])
def test_a_database_that_is_replaced_is_taken_up_by_itself(site: Operated, way: str) -> None:
    place(site, FRANCE, "one", way)
    with running(site) as daemon:
        assert site.www() == AMS
        time.sleep(1.1)  # a file that is as young as the load could have been read half-written, and is looked at again
        place(site, AMERICA, "two", way)
        until(lambda: site.www() == NYC)
        assert "world.mmdb" in daemon.wait_for("info changed: ")


def place(site: Operated, world: object, name: str, way: str) -> None:
    """*world* becomes the database: by a rename over it, or by a symlink to a folder that is swapped."""
    octets = write_world(world, build_epoch=int(time.time()))  # type: ignore[arg-type]
    if way == "rename":
        beside = site.folder / "new.mmdb"
        beside.write_bytes(octets)
        beside.replace(site.folder / "world.mmdb")
        return
    (site.folder / name).mkdir()
    (site.folder / name / "world.mmdb").write_bytes(octets)
    link = site.folder / "next"
    link.symlink_to(name)
    link.replace(site.folder / "current")
    if not (site.folder / "world.mmdb").is_symlink():
        (site.folder / "world.mmdb").unlink()
        (site.folder / "world.mmdb").symlink_to("current/world.mmdb")


def test_watch_takes_up_the_configuration_and_what_is_broken_changes_nothing(site: Operated) -> None:
    site.server = ", watch: true"
    site.write()
    with running(site) as daemon:
        time.sleep(1.1)
        site.write(static="192.0.2.77")
        until(lambda: site.ask() == ["192.0.2.77"])
        site.write(static="192.0.2.78", broken=True)
        daemon.wait_for("the running configuration is unchanged")
        assert site.ask() == ["192.0.2.77"]


def test_without_watch_the_configuration_waits_for_a_reload(site: Operated) -> None:
    with running(site) as daemon:
        site.write(static="192.0.2.77")
        place(site, AMERICA, "two", "rename")
        daemon.wait_for("info changed: ")  # the database: it takes the configuration along
        until(lambda: site.www() == NYC)
        changed = [line for line in daemon.lines if "info changed: " in line]
        assert not any("geodns.yaml" in line for line in changed)


def test_a_broken_file_at_the_start_serves_the_last_good_one_loudly(site: Operated) -> None:
    site.http = free_port()
    site.write(static="192.0.2.50")
    with running(site) as daemon:
        until((site.state / "last-good").exists)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    site.write(static="192.0.2.77", broken=True)
    with closing(Daemon(site, options=("--strict",))) as daemon:
        assert daemon.end() == 1
        assert any("nothing is served" in line for line in daemon.lines)
    with running(site) as daemon:
        assert site.ask() == ["192.0.2.50"]
        assert site.www() == AMS
        assert " error " in daemon.wait_for("the last good configuration is served until it is mended")
        assert any("wwww" in line for line in daemon.lines)
        assert site.status()["config"]["last_good"]
        until(lambda: site.metrics()["geodns_config_last_good"] == 1)
        site.write(static="192.0.2.78")
        daemon.send(signal.SIGHUP)
        until(lambda: site.ask() == ["192.0.2.78"])
        assert not site.status()["config"]["last_good"]


def test_a_second_start_on_the_same_state_or_port_is_refused_and_the_first_goes_on(site: Operated) -> None:
    with running(site) as first:
        with closing(Daemon(site)) as second:
            assert second.end() == 1
            assert any("Address already in use" in line for line in second.lines)
        port, site.port = site.port, free_port()
        listen, site.listen = site.listen, f'["127.0.0.1:{site.port}"]'
        site.write()
        text = site.config.read_text().replace("/control.sock", "/other.sock")
        site.config.write_text(text)
        with closing(Daemon(site)) as third:
            assert third.end() == 1
            assert any(f"in use by process {first.process.pid}" in line for line in third.lines)
        site.port, site.listen = port, listen
        assert site.www() == AMS
        assert (site.folder / "control.sock").exists()


def spoil(path: Path, how: str) -> None:
    """What disks, clocks and people make of a file."""
    octets = path.read_bytes()
    if how == "truncated":
        path.write_bytes(octets[: len(octets) // 2])
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["truncated", "folder"])
def test_states_and_overrides_that_are_damaged_are_set_aside_and_said(site: Operated, how: str) -> None:
    with running(site) as daemon:
        site.override("drain", "sin", duration=3600)
        until((site.state / "states.json").exists)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    for name in ("states.json", "overrides.json"):
        spoil(site.state / name, how)
    with running(site) as daemon:
        assert site.www() == AMS
        for name in ("states.json", "overrides.json"):
            daemon.wait_for(f"{name}: ")
        assert len([path for path in site.state.iterdir() if path.name.startswith(("states.json.", "overrides.json."))]) == 2
        site.override("drain", "ams", duration=3600)
        assert site.www() == NYC
        daemon.send(signal.SIGKILL)
        daemon.end()
    with running(site):
        assert site.www() == NYC


def test_states_from_the_future_count_as_of_now_and_of_another_configuration_are_said(site: Operated) -> None:
    with running(site) as daemon:
        site.webs["ams"].kill()
        until(lambda: site.www() == NYC)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    states = site.state / "states.json"
    year = 366 * 86400
    text = states.read_text()
    for when in {word for word in text.replace(",", " ").replace("]", " ").split() if word.startswith("17") and "." in word}:
        text = text.replace(when, str(float(when) + year))
    states.write_text(text)
    site.webs["ams"].start()
    site.webs["ams"].hang()
    with running(site) as daemon:
        assert "times in the future: they count as of now" in daemon.wait_for("in the future")
        assert site.www() == NYC
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    site.webs["ams"].free()
    site.config.write_text(site.config.read_text().replace("/healthz", "/other"))
    with running(site) as daemon:
        assert "none of 3 saved states is of this configuration" in daemon.wait_for("none of")
        assert site.www() == AMS
