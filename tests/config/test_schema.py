from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest
from tests.config.json_schema import accepts
from tests.config.test_catalogue import CATALOGUE, read_case

from geodns.config.compose import compose
from geodns.config.load import read_config
from geodns.config.schema import schema
from geodns.config.tree import Entries, Items, Scalar, Written, is_null

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
MAIN_FILES = [path for path in EXAMPLES if path.name != "networks.yaml"]
SCHEMA = schema()


def editor_value(value: Written, old: bool = False) -> Any:
    """What an editor makes of *value*: YAML 1.2's core types, or with *old* the booleans of 1.1 too."""
    if isinstance(value, Entries):
        return {str(key): editor_value(inner, old) for key, inner in value.items()}
    if isinstance(value, Items):
        return [editor_value(inner, old) for inner in value]
    assert isinstance(value, Scalar)
    if not value.plain:
        return str(value)
    if is_null(value):
        return None
    word = value.lower()
    if word in ("true", "false") or (old and word in ("yes", "no", "on", "off")):
        return word in ("true", "yes", "on")
    if re.fullmatch(r"[-+]?[0-9]+", value):
        return int(value)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", value):
        return float(value)
    return str(value)


def schema_errors(text: str) -> Iterator[bool]:
    """Whether the schema accepts *text*, as each kind of editor reads it."""
    root, complaints = compose(text, "geodns.yaml")
    assert root is not None and not complaints
    for old in (False, True):
        yield accepts(SCHEMA, editor_value(root, old))


@pytest.mark.parametrize("path", MAIN_FILES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    assert all(schema_errors(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted(EXAMPLES[0].parent.glob("conf.d/*.yaml")), ids=lambda path: path.name)
def test_an_included_file_is_valid_too(path: Path) -> None:
    assert all(schema_errors(path.read_text(encoding="utf-8")))


def is_yaml(path: Path) -> bool:
    """Whether an editor sees in the case what was meant."""
    root, complaints = compose(read_case(path)[0], "geodns.yaml")
    return root is not None and not complaints


@pytest.mark.parametrize("path", [path for path in CATALOGUE if is_yaml(path)], ids=lambda path: path.stem)
def test_what_the_loader_accepts_is_valid_and_unknown_keys_are_not(path: Path, tmp_path: Path) -> None:
    text, _ = read_case(path)
    (tmp_path / "geodns.yaml").write_text(text, encoding="utf-8")
    told = [complaint.text for complaint in read_config(tmp_path / "geodns.yaml").complaints]
    if not told:
        assert all(schema_errors(text))
    if any(line.startswith(("unknown key", '"order" is missing', '"pools" is missing')) for line in told):
        assert not any(schema_errors(text))


FORMS = [
    "server: {listen: '[::1]:53', http: off, workers: 4, nsid: 5, client_subnet: [10.0.0.0/8], watch: no, chaos: off}",
    "server: {client_subnet: 10.0.0.0/8, backend: /run/x.sock, user: ~, state: off, control: , cookies: off}",
    "server: {backend: {path: x, mode: 0660}, log: {level: DEBUG, format: Json}, limits: {tcp_idle: 500ms}}",
    "server: {query_log: off, proxy_protocol: no, cookies: {secret_file: ~}, api_token_file: false, watch: 'off'}",
    "server: {query_log: /var/log/q, watch: Yes}",
    "server: {query_log: {path: q, sample: 100, v4_prefix: 0, v6_prefix: '128', max_size: 64 MiB, keep: 0}}",
    "server: {query_log: {path: q, sample: 2.5%, max_size: off}}",
    "server:\ngeoip:\ndatacenters:\nmaps:\nchecks:\nservices:\nzones:\nhealth:\ninclude:\nx-any: {thing: [1]}",
    "geoip: {database: [a.mmdb, builtin], asn: off, networks: {10.0.0.0/8: {asn: AS5}, '::/0': {city: 7, country: no}}}",
    "datacenters: {ams: {coordinates: ['52.37', 4.90], bias: '-5', drain: Yes}}",
    "maps: {world: {rules: {order: ams}, nearest: off, depth: 3, default: ams}, x: }",
    "maps: {world: {rules: [{asn: AS1, country: no, order: {ams: 1}}, {asn: [1, 2], order: [ams, {a: 1}], only: y}]}}",
    "checks: {a: {type: http, expect: {status: 200, body: yes}}, b: {type: tls, port: 5, expires_within: 14d, ca: off}}",
    "checks: {a: {type: http, headers: {a: 5}, expect: }, b: {type: dns, port: '53', name: a.b, expect: {address: '::1'}}}",
    "services: {w: {pools: {ams: 192.0.2.1}, ttl: 1h, answers: all, all_down: None, check: {type: icmp}}}",
    "services: {w: {pools: {ams: [a.b.]}, ttl: {min: 5, max: 1m}, answers: '2', check: [a, b], up_threshold: 1}}",
    "services: {w: {pools: {ams: [{address: '2001:db8::1'}]}, check: a, all_down: {addresses: 192.0.2.1}, pick: Sticky}}",
    "services: {w: {pools: {ams: [{target: a.b., probe_at: 'a:1'}]}, check: , all_down: {service: 7}}}",
    "zones: {a.b: {ns: x., ttl: 5, file: off, soa: {serial: 1, refresh: 1h}, records: {a: {A: 5}, 1.10: {service: 5}}}}",
    "zones: {a.b: {records: {a: {TXT: [true, 5, ~, x], mx: {values: '10 a', ttl: 1m}, TYPE731: {values: [x]}, ttl: 5}}}}",
    "zones: {a.b: }",
    "health: {startup_wait: 10s, stale_limit: 1.5h}",
    "include: [a, b]",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_every_key_is_valid(text: str, tmp_path: Path) -> None:
    """(What the loader refuses here it refuses for reasons that no schema tells: undefined names, missing files.)"""
    path = tmp_path / "geodns.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = read_config(path)
    missing = [c for c in loaded.complaints if "cannot be read" not in c.text]
    if "only: y" not in text:
        assert missing == []
        assert all(schema_errors(text))
    else:
        assert [complaint.text for complaint in missing] == ['must be true or false, got "y"']
        assert not any(schema_errors(text))


@pytest.mark.parametrize(
    "text",
    [
        "zone: {}",
        "server: {lisen: x}",
        "server: {log: {levels: info}}",
        "geoip: {networks: {10.0.0.0/8: {contry: NO}}}",
        "datacenters: {ams: {}}",
        "datacenters: {ams: {coordinates: [1]}}",
        "maps: {world: {rule: []}}",
        "maps: {world: {rules: [{country: NO}]}}",
        "checks: {a: {type: tcp}}",
        "checks: {a: {type: httpd}}",
        "checks: {a: {type: icmp, port: 1}}",
        "services: {w: {pools: {ams: [{address: 192.0.2.1, wieght: 1}]}}}",
        "services: {w: {pools: {ams: [192.0.2.1]}, check: {type: tcp}}}",
        "services: {w: {pools: {ams: [192.0.2.1]}, all_down: {kind: all}}}",
        "zones: {a.b: {record: {}}}",
        "zones: {a.b: {records: {a: {A: {vals: x}}}}}",
        "zones: {a.b: {records: {a: 5}}}",
        "health: {startup_wait: 10}",
        "server: {watch: [no]}",
        "server: {query_log: {sample: 5}}",
        "server: {query_log: {path: q, sample: 0.5}}",
        "server: {query_log: {path: q, max_size: 5}}",
        "server: {query_log: {path: q, v4_prefix: 33}}",
    ],
)
def test_mistakes_that_an_editor_can_see_are_not_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_config(path).complaints
    assert not any(schema_errors(text))


def test_the_schema_is_json_and_every_definition_is_used() -> None:
    text = json.dumps(SCHEMA)
    used = set(re.findall(r'"#/\$defs/([^"]+)"', text))
    assert used == SCHEMA["$defs"].keys()
    assert accepts(SCHEMA, {}) and not accepts(SCHEMA, [])


def test_another_validator_agrees() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for text in FORMS:
        root, _ = compose(text, "geodns.yaml")
        assert root is not None
        assert validator.is_valid(editor_value(root)) is accepts(SCHEMA, editor_value(root))
