"""Targets: which probes are the same, what their keys depend on, and where they go."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.model import Config
from geodns.health.targets import EMPTY, Target, build_targets

ROOT = Path(__file__).parents[2]
HTTP = {"type": "http", "host": "www.example.com"}


def make_config(checks: Mapping[str, Any], services: Mapping[str, Any]) -> Config:
    datacenters = {name: {"coordinates": [1, 2]} for service in services.values() for name in service["pools"]}
    return Config.model_validate({"datacenters": datacenters, "checks": checks, "services": services})


def only_target(check: Any, member: Any) -> Target:
    plan = build_targets(make_config({"c": check}, {"www": {"check": "c", "pools": {"ams": [member]}}}))
    (target,) = plan.targets.values()
    return target


@pytest.mark.parametrize(
    ("check", "member", "where"),
    [
        ({"type": "http"}, "192.0.2.1", "http 192.0.2.1:80"),
        ({"type": "https", "port": 8443}, "2001:db8::1", "https [2001:db8::1]:8443"),
        ({"type": "tcp", "port": 25}, {"address": "192.0.2.1", "probe_at": "10.1.2.3"}, "tcp 10.1.2.3:25"),
        ({"type": "tcp", "port": 25}, {"address": "192.0.2.1", "probe_at": "10.1.2.3:26"}, "tcp 10.1.2.3:26"),
        ({"type": "tls", "port": 443}, {"address": "192.0.2.1", "probe_at": "[2001:DB8:0::1]:8"}, "tls [2001:db8::1]:8"),
        ({"type": "tls", "port": 443}, {"address": "192.0.2.1", "probe_at": "2001:db8::1"}, "tls [2001:db8::1]:443"),
        ({"type": "http"}, "Edge.example.net.", "http edge.example.net:80"),
        (
            {"type": "http"},
            {"target": "edge.example.net.", "probe_at": "Origin.example.net.:81"},
            "http origin.example.net:81",
        ),
        ({"type": "icmp"}, {"address": "192.0.2.1", "probe_at": "10.1.2.3:99"}, "icmp 10.1.2.3"),
        ({"type": "exec", "command": ["true"]}, {"address": "192.0.2.1", "probe_at": "10.1.2.3:99"}, "exec 10.1.2.3:99"),
        ({"type": "exec", "command": ["true"]}, "2001:db8::1", "exec 2001:db8::1"),
        ({"type": "file", "path": "/x"}, {"address": "192.0.2.1", "probe_at": "10.1.2.3:99"}, "file 192.0.2.1"),
    ],
)
def test_where_a_probe_goes(check: Any, member: Any, where: str) -> None:
    assert only_target(check, member).where == where


def test_the_same_probe_is_made_once_and_speaks_for_all() -> None:
    services = {
        "www": {"check": "a", "pools": {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]}},
        "api": {"check": ["a", "b"], "pools": {"nyc": ["192.0.2.1"]}},
    }
    plan = build_targets(make_config({"a": HTTP, "b": HTTP}, services))
    assert sorted((target.host, target.datacenters) for target in plan.targets.values()) == [
        ("192.0.2.1", ("ams", "nyc")),
        ("192.0.2.2", ("nyc",)),
    ]
    assert plan.watched["api", "nyc", "192.0.2.1"] == plan.watched["www", "ams", "192.0.2.1"]
    assert {target.name for target in plan.targets.values()} == {"a"}, "of several checks that are the same, the first"


def test_members_without_a_check_are_known_and_not_probed() -> None:
    plan = build_targets(make_config({}, {"www": {"check": None, "pools": {"ams": ["192.0.2.1", "2001:db8::1"]}}}))
    assert dict(plan.targets) == {}
    assert dict(plan.watched) == {("www", "ams", "192.0.2.1"): (), ("www", "ams", "2001:db8::1"): ()}


def test_several_checks_stand_in_their_order() -> None:
    checks = {"a": HTTP, "b": {"type": "tcp", "port": 80}}
    plan = build_targets(make_config(checks, {"www": {"check": ["b", "a"], "pools": {"ams": ["192.0.2.1"]}}}))
    kinds = [plan.targets[key].check.type for key in plan.watched["www", "ams", "192.0.2.1"]]
    assert kinds == ["tcp", "http"]


@pytest.mark.parametrize("kind", [{"type": "file", "path": "/x"}, {"type": "exec", "command": ["true"]}, {"type": "http"}])
def test_members_are_told_apart_where_the_probe_is_told_of_them(kind: Any) -> None:
    """`http` without `host` names the member's address in its request, wherever the probe goes."""
    members = [{"address": f"192.0.2.{n}", "probe_at": "10.1.2.3:99"} for n in (1, 2)]
    plan = build_targets(make_config({"c": kind}, {"www": {"check": "c", "pools": {"ams": members}}}))
    assert [target.member for target in plan.targets.values()] == ["192.0.2.1", "192.0.2.2"]
    plan = build_targets(make_config({"c": HTTP}, {"www": {"check": "c", "pools": {"ams": members}}}))
    assert len(plan.targets) == 1


schedules = st.fixed_dictionaries({"interval": st.integers(5, 9), "timeout": st.integers(1, 4), "rise": st.integers(1, 9)})
contents = st.fixed_dictionaries({"port": st.integers(1, 3), "path": st.sampled_from(("/", "/a"))})


@settings(deadline=None)
@given(schedules, contents, schedules, contents)
def test_keys_always_tell_probes_apart_and_subjects_what_is_looked_at(a: Any, ac: Any, b: Any, bc: Any) -> None:
    def build(schedule: Any, content: Any) -> Target:
        times = {name: f"{schedule[name]}s" for name in ("interval", "timeout")}
        return only_target({"type": "http", "rise": schedule["rise"], **times, **content}, "192.0.2.1")

    one, other = build(a, ac), build(b, bc)
    assert (one.key == other.key) == ((a, ac) == (b, bc))
    assert (one.subject == other.subject) == (ac == bc)


def test_keys_survive_renaming_and_restarts() -> None:
    def keys(check: str, service: str, datacenter: str) -> set[str]:
        config = make_config({check: HTTP}, {service: {"check": check, "pools": {datacenter: ["192.0.2.1"]}}})
        return set(build_targets(config).targets)

    assert keys("web", "www", "ams") == keys("http", "shop", "eu-1")
    program = "from tests.health.test_targets import *; print(only_target(HTTP, '192.0.2.1').key)"
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert keys("web", "www", "ams") == {other.stdout.strip()}


def test_it_crosses_a_pipe() -> None:
    plan = build_targets(make_config({"c": HTTP}, {"www": {"check": "c", "pools": {"ams": ["192.0.2.1"]}}}))
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert (dict(EMPTY.targets), dict(EMPTY.watched)) == ({}, {})


def test_ten_thousand_members_are_soon_done() -> None:
    pools = {f"dc{n}": [f"10.{n}.{i >> 8}.{i & 255}" for i in range(1000)] for n in range(10)}
    config = make_config({"c": HTTP}, {"www": {"check": "c", "pools": pools}})
    least = min(_seconds(config) for _ in range(3))
    assert least < 2.0, "0.1 s on an idle machine"


def _seconds(config: Config) -> float:
    began = perf_counter()
    assert len(build_targets(config).targets) == 10_000
    return perf_counter() - began
