"""The metrics' page, the alerts and the dashboard: whatever they name exists, and whatever exists is documented.

`promtool` says whether Prometheus takes the rules and the dashboard's expressions; without it these tests are skipped, and
what can be held without it is held all the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import ProcessCollector
from tests.server.reports import one_of_each

from geodns.server.exposition import FAMILIES, scrape

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
GUIDE = (ROOT / "docs" / "guide" / "monitoring.md").read_text()
RULES = ROOT / "deploy" / "prometheus" / "geodns.rules.yml"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "geodns.rules.test.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "geodns.json").read_text())
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool (apt package prometheus)")

# A line's name to the labels that it may have; every scrape adds job and instance.
ENDINGS = {"histogram": ("_bucket", "_count", "_sum")}
LINES: dict[str, set[str]] = {
    family.name + ending: {*family.labels, "job", "instance"} | ({"le"} if ending == "_bucket" else set())
    for family in FAMILIES
    for ending in ENDINGS.get(family.kind, ("",))
}
LINES |= {"up": {"job", "instance"}}
LINES |= {
    sample.name: {"job", "instance"} for metric in ProcessCollector(registry=None).collect() for sample in metric.samples
}

NAME = re.compile(r"\b(?:geodns|process)_[a-z_]+\b|\bup\b(?=\{)")
SELECTOR = re.compile(r"([a-z_]+)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on|ignoring) \(([a-z_, ]*)\)")


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found)
    return {rule["alert"]: rule for rule in found}


def panels() -> Iterator[tuple[str, str]]:
    """Every expression of the dashboard, with the title of its panel."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"label_values\((.*), \w+\)", r"\1", variable["definition"])


def examples() -> Iterator[tuple[str, str]]:
    """The expressions of the guide, with the comment above each."""
    (block,) = re.findall(r"```\n(# share.*?)```", GUIDE, flags=re.DOTALL)
    for piece in block.strip().split("\n\n"):
        title, _, expression = piece.partition("\n")
        yield title, expression


EXPRESSIONS = [
    *((f"alert {name}", rule["expr"]) for name, rule in alerts().items()),
    *((f"panel {title}", expression) for title, expression in panels()),
    *((f"guide {title}", expression) for title, expression in examples()),
]


def test_every_metric_is_on_the_page_with_its_type_and_labels_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    shown = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}
    assert shown == {family.name: (family.kind, family.labels) for family in FAMILIES}
    assert len(rows) == len(FAMILIES)
    texts = {family.name: family.text for family in FAMILIES}
    assert [name for name, _, _, meaning in rows if not meaning.startswith(texts[name])] == [], (
        "the page says it as /metrics does"
    )
    assert set(re.findall(r"`(process_\w+)`", PAGE)) == {name for name in LINES if name.startswith("process_")}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_expressions_name_only_what_exists(where: str, expression: str) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = set(NAME.findall(bare))
    assert names <= LINES.keys(), where
    assert names, "an expression about nothing"
    for name, selector in SELECTOR.findall(bare):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
        assert labels <= LINES[name], f"{where}: {name}{{{selector}}}"
    known = set.union(*(LINES[name] for name in names))
    for grouping in GROUPING.findall(bare):
        assert set(re.split(r", *", grouping)) <= known, f"{where}: ({grouping})"


def test_label_values_in_expressions_are_values_that_occur() -> None:
    """A selector that can never match would keep an alert silent for ever."""
    values = {
        "rank": {"up", "live", "drained", "dead"},
        "rcode": {"SERVFAIL", "NXDOMAIN"},
        "transport": {"udp", "tcp"},
        "verdict": {"up", "down", "unknown"},
        "subnet": {"none", "unused", "used"},
    }
    for where, expression in EXPRESSIONS:
        for label, value in re.findall(r'(\w+)(?:=~|!=|=)"([^"$]+)"', expression):
            if label in values:
                assert set(value.split("|")) <= values[label], where


def test_every_metric_that_tells_of_trouble_has_an_alert_or_a_panel() -> None:
    """What nobody looks at need not be counted."""
    used = {name for _, expression in EXPRESSIONS for name in NAME.findall(expression)}
    unused = {name for name in LINES if name not in used and name.removesuffix("_count").removesuffix("_sum") == name}
    assert {name for name in unused if name.startswith("geodns_")} == {
        "geodns_datacenter_since_timestamp_seconds",
        "geodns_config_reload_timestamp_seconds",
        "geodns_member_since_timestamp_seconds",
        "geodns_prober_since_timestamp_seconds",
    }, "those are for people who ask since when"


def test_every_alert_is_explained_and_tested_and_fit_to_be_sent() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    quiet = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case["exp_alerts"]}
    assert fired == quiet == set(alerts())
    rows = re.findall(r"^\| (Geodns[A-Za-z, ]+) \|", GUIDE, flags=re.MULTILINE)
    assert sorted(name for row in rows for name in row.split(", ")) == sorted(alerts())
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert {"summary", "description"} == set(rule["annotations"])
        assert len(rule["annotations"]["summary"]) < 100


def test_the_dashboard_is_whole() -> None:
    shown = DASHBOARD["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    cells: set[tuple[int, int]] = set()
    for panel in shown:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken = {
            (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} covers another panel"
        cells |= taken
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job", instance=~"$instance"' in target["expr"], panel["title"]


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    run_promtool("check", "rules", str(RULES))


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before() -> None:
    run_promtool("test", "rules", str(RULE_TESTS))


@needs_promtool
def test_prometheus_takes_the_expressions_of_the_dashboard_and_the_guide(tmp_path: Path) -> None:
    plain = [expression.replace("$__rate_interval", "5m") for _, expression in (*panels(), *examples())]
    rules = [{"record": f"expression:{i}", "expr": re.sub(r"\$\w+", ".*", text)} for i, text in enumerate(plain)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    run_promtool("check", "rules", str(tmp_path / "rules.yml"))


@needs_promtool
def test_prometheus_has_nothing_to_say_against_the_names() -> None:
    run_promtool("check", "metrics", given=scrape(one_of_each())[1])


def run_promtool(*arguments: str, given: bytes = b"") -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
