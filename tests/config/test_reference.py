"""The reference page: every key has a heading, its example loads, its default is the model's."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from geodns.config.load import read_config
from geodns.config.model import Config, Listen
from geodns.config.model_checks import CHECK_TYPES
from geodns.config.words import _bare

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
PLACEHOLDERS = {"networks": "PREFIX", "pools": "DATACENTER", "records": "OWNER", "rrsets": "TYPE"}
STANDINS = {"PREFIX": "192.0.2.0/24", "TYPE": "TXT"}
# What must stand beside a key, so that a configuration with it can be read.
BESIDE: dict[str, dict[str, str]] = {
    "datacenters.NAME": {"coordinates": "[1, 2]"},
    "maps.NAME.rules[]": {"order": "[a]"},
    "server.backend": {"path": "x"},
    "server.query_log": {"path": "x"},
    "services.NAME": {"pools": "{a: [192.0.2.1]}"},
    "services.NAME.ttl": {"min": "30", "max": "30"},
    "services.NAME.pools.DATACENTER[]": {"address": "192.0.2.1"},
    "zones.NAME.records.OWNER": {"A": "192.0.2.1"},
    "zones.NAME.records.OWNER.TYPE": {"values": "[x]"},
}
PORT = {"port": "53"}
CHECKS: dict[str, dict[str, str]] = {
    "http": {},
    "https": {},
    "icmp": {},
    "tcp": PORT,
    "tls": PORT,
    "dns": PORT | {"name": "a.b"},
    "exec": {"command": "[a]"},
    "file": {"path": "x"},
}


def keys_of(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every key that may be written below *before*, with words in place of names."""
    for name, field in model.model_fields.items():
        if name == "kind":
            continue  # the form of all_down, which nobody writes
        path = before if name == "rrsets" else f"{before}.{name}".lstrip(".")
        if name != "rrsets":
            yield path
        yield from keys_in(field.annotation, path, name)


def keys_in(hint: Any, path: str, name: str) -> Iterator[str]:
    """The keys inside the value of one key."""
    hint = _bare(hint)
    if get_origin(hint) is dict:
        inner = _bare(get_args(hint)[1])
        if inner is not str:
            path = f"{path}.{PLACEHOLDERS.get(name, 'NAME')}"
        if name == "rrsets":
            yield path
        yield from keys_in(inner, path, "")
    elif get_origin(hint) is tuple:
        inner = _bare(get_args(hint)[0])
        yield from keys_in(inner, f"{path}[]", "")
    elif get_origin(hint) in (Union, types.UnionType):
        for one in get_args(hint):
            yield from keys_in(one, path, "")
    elif isinstance(hint, type) and issubclass(hint, BaseModel) and hint is not Listen:
        yield from keys_of(hint, path)


def sections() -> dict[str, str]:
    """Text below each heading that is a key."""
    parts = re.split(r"^##+ `([^`]+)`\n", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


KEYS = [*dict.fromkeys(keys_of(Config)), "include"]
EXAMPLES = {key: match[1] for key, text in sections().items() if (match := re.search(r"^- Example: `(.*)`$", text, re.M))}
DEFAULTS = {key: match[1] for key, text in sections().items() if (match := re.search(r"^- Default: `([^`]*)`$", text, re.M))}


def write_config(key: str, entry: str) -> str:
    """A configuration that holds *entry* (`key: value`, or nothing) at the place of *key*, with what it needs beside it."""
    steps = key.split(".")
    kind = "http"
    if steps[0] == "checks" and key != "checks.NAME.type":
        kind = next(name for name, model in CHECK_TYPES.items() if has_key(model, steps[2:]))
    for depth in range(len(steps) - 1, 0, -1):
        beside = BESIDE.get(".".join(steps[:depth]), {})
        if depth == 2 and steps[0] == "checks":
            beside = CHECKS[kind] | {"type": kind}
        name = entry.partition(":")[0]
        others = [other for other in beside if other != name and {other, name} != {"address", "target"}]
        entries = [f"{other}: {beside[other]}" for other in others]
        text = "{" + ", ".join([*entries, entry] if entry else entries) + "}"
        step = STANDINS.get(steps[depth - 1].removesuffix("[]"), steps[depth - 1].removesuffix("[]"))
        entry = f"{step}: [{text}]" if steps[depth - 1].endswith("[]") else f"{step}: {text}"
    return entry + "\n"


def has_key(model: type[BaseModel], path: list[str]) -> bool:
    """Whether *path* is a key of *model*, however deep."""
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    inner = _bare(field.annotation)
    return isinstance(inner, type) and issubclass(inner, BaseModel) and has_key(inner, path[1:])


def test_every_key_has_a_heading_and_every_heading_is_a_key() -> None:
    assert sorted(sections()) == sorted(KEYS)
    assert len(KEYS) > 100


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_its_meaning_type_default_and_example(key: str) -> None:
    text = sections()[key]
    assert re.match(r"\n\S.{8,}", text), "a sentence on what it means"
    if "." in key or key == "include":
        assert re.search(r"^- Type: \S", text, re.M) and re.search(r"^- Default: \S", text, re.M) and key in EXAMPLES


@pytest.mark.parametrize("key", EXAMPLES)
def test_every_example_loads(key: str, tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    name = EXAMPLES[key].partition(":")[0]
    assert name == key.rpartition(".")[2] or (key.endswith(".TYPE") and name == "TXT")
    path.write_text(write_config(key, EXAMPLES[key]), encoding="utf-8")
    told = [complaint.text for complaint in read_config(path).complaints]
    # (A file that an example names is not there.)
    assert [text for text in told if not text.startswith(("cannot be read", "no file matches"))] == []


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_default_that_is_told_is_what_an_unwritten_key_means(key: str, tmp_path: Path) -> None:
    """Both are read, once with the default written out and once without the key."""
    path, found = tmp_path / "geodns.yaml", []
    for entry in (f"{key.rpartition('.')[2]}: {DEFAULTS[key]}", ""):
        path.write_text(write_config(key, entry), encoding="utf-8")
        loaded = read_config(path)
        assert loaded.complaints == (), path.read_text(encoding="utf-8")
        found.append(loaded.config)
    assert found[0] == found[1]


def test_most_defaults_are_held() -> None:
    assert len(DEFAULTS) >= 40
