"""Every scenario, by calling `answer`, over UDP and over TCP."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.replies import Surprise
from tests.scenario import build_scenario, read_scenarios, run_scenario
from tests.transports import TRANSPORTS, open_transport

from geodns.compiler.build import Built
from geodns.snapshot import Snapshot

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))
SCENARIOS = [scenario for path in FILES for scenario in read_scenarios(path)]
BUILTIN = """
title: {title}
world: {{0.0.0.0/1: {{country: US, continent: NA, coordinates: [40, -75]}}}}
config: |
  datacenters: {{nyc: {{coordinates: [40, -74]}}}}
  services: {{www: {{check: off, pools: {{nyc: [192.0.2.1, 192.0.2.2]}}}}}}
  zones: {{example.com: {{ns: [ns1.example.com.], records: {{www: {{service: www}}, ns1: {{A: 192.0.2.53}}}}}}}}
steps:
  - {step}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Built, Snapshot]]:
    """What a scenario is compiled to, once for all transports."""

    @cache
    def find(number: int) -> tuple[Built, Snapshot]:
        return build_scenario(SCENARIOS[number], tmp_path_factory.mktemp("scenario"))

    return find


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[scenario.name for scenario in SCENARIOS])
def test_scenario(number: int, transport: str, built: Callable[[int], tuple[Built, Snapshot]]) -> None:
    with open_transport(transport) as way:
        run_scenario(SCENARIOS[number], way, *built(number))


@pytest.mark.parametrize(
    ("step", "surprise"),
    [
        ("{query: www.example.com A, expect: {answer: [192.0.2.9]}}", r"s\.yaml:9: .*expected \['192\.0\.2\.9'\]"),
        ("{query: ns1.example.com A, expect: {answer: []}}", "expected"),
        ("{query: ns1.example.com A, expect: {answer: [192.0.2.53, 192.0.2.54]}}", "expected"),
        ("{query: ns1.example.com A, expect: {answer: [192.0.2.53], ttl: 299}}", "ttl"),
        ("{query: ns1.example.com A, expect: {answer: [192.0.2.53], aa: false}}", "aa"),
        ("{query: ns1.example.com A, client: 20.0.0.0/16, expect: {answer: [192.0.2.53], scope: 1}}", "scope 0"),
        ("{query: ns1.example.com A, expect: {rcode: NXDOMAIN}}", "NOERROR, expected NXDOMAIN"),
        ("{query: ns1.example.com A, expect: {}}", "does not say which answer"),
        ("{query: ns1.example.com A, expect: {count: 2}}", "2 different"),
        ("{query: ns1.example.com TXT, expect: {answer: [], authority: []}}", "authority"),
        ("{query: www.example.com A, shares: {192.0.2.1: 0.6, 192.0.2.2: 0.4}}", "shares"),
        ("{query: www.example.com A, shares: {192.0.2.1: 0.5}}", "shares"),
        ("{health: {www/ams/*: down}}", "no member matches"),
        ("{probe: {www/nyc/*: up}}", r"s\.yaml:9: no member that is watched matches"),
        ("{override: {www/nyc: drained}}", "an override is drain, up or down"),
    ],
)
def test_a_scenario_that_expects_something_else_fails(step: str, surprise: str, tmp_path: Path) -> None:
    """Each kind of expectation can fail; the text begins with file and line."""
    (tmp_path / "s.yaml").write_text(BUILTIN.format(title="wrong", step=step))
    (scenario,) = read_scenarios(tmp_path / "s.yaml")
    with open_transport("in-process") as way, pytest.raises(Surprise, match=surprise):
        run_scenario(scenario, way, *build_scenario(scenario, tmp_path))


def test_a_probe_says_what_probes_say(tmp_path: Path) -> None:
    text = BUILTIN.format(title="typo", step="{probe: {www/nyc/*: fine}}").replace(
        "check: off", "check: {type: tcp, port: 80}"
    )
    (tmp_path / "s.yaml").write_text(text)
    (scenario,) = read_scenarios(tmp_path / "s.yaml")
    with open_transport("in-process") as way, pytest.raises(Surprise, match="a probe says up, down, silent or unknown"):
        run_scenario(scenario, way, *build_scenario(scenario, tmp_path))


def test_unknown_keys_are_told(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(BUILTIN.format(title="typo", step="{query: www.example.com A, expects: {}}"))
    with pytest.raises(Surprise, match=r"s\.yaml:9: unknown key \['expects'\]"):
        read_scenarios(tmp_path / "s.yaml")
