"""Random configurations, compiled: every way in which a service can answer, and zones with all that a name can hold.

Knows what an operator may write (`tests.properties.worlds` draws the world under it). Knows nothing of what is right.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.properties.plain import World
from tests.properties.worlds import compile_world, draw_world

from geodns.compiler.choices import build_choices
from geodns.health.state import Condition, Verdict
from geodns.snapshot import Choices, Snapshot, Zones

TARGETS = ("edge.example.net.", "fixed.example.com.", "c5.example.com.", "s0.example.com.", "any.t.example.com.")


def make_snapshot(seed: int, folder: Path) -> Snapshot:
    """The configuration of *seed*, through the whole pipeline in *folder*."""
    chance = random.Random(seed)
    world, options = draw_world(chance)
    services = draw_services(chance, list(world.spec["datacenters"]))
    spec = {**world.spec, "services": services, "zones": draw_zones(chance, list(services))}
    return compile_world(World(spec, world.records, world.asns), options, folder).snapshot


def draw_health(zones: Zones, chance: random.Random) -> Choices:
    """The choices under any state of health: whole datacenters down, or members here and there."""
    quiet = chance.random()
    health = {}
    for plan in zones.pools:
        dead = chance.random() < 0.3
        for member in plan.members:
            if chance.random() < quiet and not dead:
                continue
            verdict = Verdict.DOWN if dead else chance.choice((Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN))
            until = chance.choice((None, 3.0, 12.5))
            health[plan.service, plan.datacenter, member.text] = Condition(verdict, chance.random() < 0.2, until)
    return build_choices(zones, health)


def draw_services(chance: random.Random, datacenters: list[str]) -> dict[str, Any]:
    """Up to eight services; who falls back does so on one before. The first has addresses only: it stands at an apex."""
    services: dict[str, Any] = {}
    for i in range(chance.randint(2, 8)):
        aliases = i > 0 and chance.random() < 0.15
        places = chance.sample(datacenters, chance.randint(1, len(datacenters)))
        pools = {place: draw_targets(chance) if aliases else draw_members(chance) for place in places}
        services[f"s{i}"] = {
            "check": None,
            "map": chance.choice(("world", "ruled")),
            "pools": pools,
            "answers": 1 if aliases else chance.choice((1, 1, 1, 2, 3, 10, "all")),
            "pick": chance.choice(("weighted", "weighted", "sticky")),
            "ttl": chance.choice((0, 30, 3600, {"min": 5, "max": 60})),
            "up_threshold": chance.choice((0, 0.5, 1)),
            "all_down": draw_last_word(chance, list(services), aliases),
        }
    return services


def draw_last_word(chance: random.Random, before: list[str], aliases: bool) -> Any:
    """What a service says when everything is down."""
    words: list[Any] = ["all", "none", "servfail", *({"service": name} for name in before[-1:])]
    return chance.choice(words if aliases else [*words, {"addresses": ["198.51.100.1", "198.51.100.2", "2001:db8:ffff::1"]}])


def draw_members(chance: random.Random) -> list[dict[str, Any]]:
    """Addresses of one family or of both, weighted, a few of them drained."""
    families = chance.choice((("192.0.2.",), ("192.0.2.", "2001:db8::"), ("2001:db8::",)))
    heaviest = chance.choice((1, 3, 65535))
    return [
        {"address": f"{family}{i + 1}", "weight": chance.randint(0 if i else 1, heaviest), "drain": chance.random() < 0.1}
        for family in families
        for i in range(chance.choice((1, 1, 2, 3, 5, 17, 40)))
    ]


def draw_targets(chance: random.Random) -> list[dict[str, Any]]:
    targets = chance.sample(TARGETS, chance.randint(1, 3))
    return [{"target": target, "weight": chance.randint(1, 9)} for target in targets]


def draw_zones(chance: random.Random, services: list[str]) -> dict[str, Any]:
    """Two zones, one inside of the other, with wildcards, chains, a delegation, large and empty answers."""
    records: dict[str, Any] = {name: {"service": name} for name in services}
    records |= {
        "@": {"service": services[0], "TXT": "apex", "MX": ["10 ns1"]},
        "ns1": {"A": "192.0.2.53", "AAAA": "2001:db8::53"},
        "fixed": {"A": ["192.0.2.60", "192.0.2.61"], "ttl": 7},
        "*.w": {"service": chance.choice(services)},
        "*.t": {"TXT": "any", "A": "192.0.2.70"},
        "*.c": {"CNAME": chance.choice(services)},
        "deep.er.t": {"A": "192.0.2.71"},
        "large": {
            "TXT": [f"{i} {'x' * 200}" for i in range(chance.choice((1, 5, 20)))],
            "A": [f"192.0.2.{i}" for i in range(90)],
        },
        "sub": {"NS": ["ns.sub", "ns.example.net."]} | ({"DS": f"12345 13 2 {'0' * 64}"} if chance.random() < 0.5 else {}),
        "ns.sub": {"A": "192.0.2.54", "AAAA": "2001:db8::54"},
        "out": {"CNAME": "www.example.net."},
    }
    records |= {f"c{i}": {"CNAME": f"c{i + 1}"} for i in range(9)} | {"c9": {"service": chance.choice(services)}}
    inner = {"ns": {"A": "192.0.2.80"}, "@": {"service": services[0]}, "up": {"CNAME": "s0.example.com."}}
    return {
        "example.com": {
            "ns": ["ns1.example.com."],
            "soa": {"negative_ttl": chance.choice((5, 60, 900))},
            "ttl": chance.choice((0, 300)),
            "records": records,
        },
        "in.example.com": {"ns": ["ns.in.example.com."], "records": inner},
    }
