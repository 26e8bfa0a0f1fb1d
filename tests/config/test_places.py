from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.config.compose import compose
from geodns.config.load import load_config
from geodns.config.places import Places, prune, tell_undefined, walk, write_path
from geodns.config.tree import Entries, Items, Scalar, Written

COMPLETE = Path(__file__).parents[2] / "config" / "complete.yaml"


@pytest.fixture(scope="module")
def places() -> Places:
    return load_config(COMPLETE).places


def tree(text: str) -> Entries:
    """The tree of *text*, which has no mistakes."""
    root, complaints = compose(text, "t.yaml")
    assert root is not None and not complaints
    return root


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("server", "listen", 1, "port"), '"[::]:53"'),  # read from one scalar
        (("server", "nsid"), "ams1"),
        (("server",), "server:"),  # a mapping stands where its key stands
        (("geoip", "networks", ip_network("203.0.113.0/24"), "country"), "JP}"),
        (("maps", "world", "rules", 3, "order", 0, "sin"), "30}"),
        (("services", "www", "pools", "nyc", 1, "probe_at"), '"10.1.2.3:8443"'),
        (("services", "www", "pools", "nyc", 1), "{address: 198.51.100.11"),
        (("services", "www", "ttl", "min"), "5, max"),
        (("services", "cdn", "ttl", "min"), "cdn:"),  # not written: the nearest that is
        (("zones", "example.com.", "records", "ftp", "rrsets", "A", "values", 0), "192.0.2.26]"),
        (("zones", "example.com.", "records", "ns1", "rrsets", "A", "values", 0), "192.0.2.53}"),
        (("zones", "example.com.", "records", "@", "rrsets", "MX", "values", 0), '"10 mail"'),
        (("zones", "example.com.", "soa", "ttl"), "soa:"),  # not the zone's own ttl
    ],
)
def test_what_stands_at_a_path(places: Places, path: tuple[object, ...], written: str) -> None:
    place = places.find(path)
    assert place.file == str(COMPLETE)
    line = COMPLETE.read_text(encoding="utf-8").splitlines()[place.line - 1]
    assert line[place.column - 1 :].startswith(written)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("services", "www", "pools", "nyc", 1, "weight"), "services.www.pools.nyc[1].weight"),
        (("zones", "example.com.", "records", "ns1", "rrsets", "A", "values", 0), "zones.example.com.records.ns1.A"),
        (("zones", "example.com.", "records", "sub", "rrsets", "NS", "values", 0), "zones.example.com.records.sub.NS[0]"),
        (("zones", "example.com.", "records", "*.apps"), "zones.example.com.records.*.apps"),
        (("services", "cdn", "all_down", "service"), "services.cdn"),
        (("checks", "sorry:check", "path"), "services.sorry.check.path"),
        ((), ""),
        (("nothing",), ""),
    ],
)
def test_how_a_path_is_told(places: Places, path: tuple[object, ...], text: str) -> None:
    assert places.text(path) == text


def test_record_types_are_found_in_any_case() -> None:
    places = Places(tree("zones: {x.: {records: {a: {txt: [b, c]}}}}"))
    assert places.find(("zones", "x.", "records", "a", "rrsets", "TXT", "values", 1)).column == 37
    assert places.text(("zones", "x.", "records", "a", "rrsets", "TXT", "values", 1)) == "zones.x.records.a.txt[1]"


def test_keys_and_values_have_places_of_their_own() -> None:
    places = Places(tree("a:\n  b: c\n  d:\n  e: [f]\n"))
    assert str(places.find(("a", "b"))) == "t.yaml:2:6" and str(places.find_key(("a", "b"))) == "t.yaml:2:3"
    assert str(places.find(("a", "d"))) == "t.yaml:3:3"  # nothing is written there
    assert str(places.find(("a", "e", 0))) == "t.yaml:4:7"
    assert str(places.find(("a", "e", 7))) == "t.yaml:4:3"
    assert str(places.key_error(("a", "b"), "x")) == "t.yaml:2:3: a: x"
    assert str(places.error(("a", "b"), "x")) == "t.yaml:2:6: a.b: x"
    assert str(places.warning(("a",), "x")) == "t.yaml:1:1: warning: a: x"


def test_names_are_what_was_written() -> None:
    places = Places(tree("datacenters: {ams: wrong, nyc: {}}\nmaps: 5\n"))
    assert list(places.names("datacenters")) == ["ams", "nyc"]
    assert list(places.names("maps")) == [] and list(places.names("services")) == []


def test_undefined_names_are_told_with_what_is_defined() -> None:
    places = Places(tree("datacenters: {ams: , nyc: }\nmaps: {eu: }\n"))
    assert tell_undefined("datacenter", "nycc", places).endswith(', did you mean "nyc"? (defined: ams, nyc)')
    assert tell_undefined("map", "asia", places) == 'map "asia" is not defined (defined: eu, world)'
    assert tell_undefined("service", "www", places) == 'service "www" is not defined (defined: none)'
    many = Places(tree("checks: {" + ", ".join(f"c{i}: " for i in range(30)) + "}"))
    assert tell_undefined("check", "zz", many).endswith("c10, c11, ...)")


def test_paths_are_written_with_dots_and_brackets() -> None:
    assert write_path(("zones", "example.com.", "records", "a", 0)) == "zones.example.com.records.a[0]"
    assert write_path(()) == ""
    assert write_path(("a", 1, 2, "b")) == "a[1][2].b"


def test_what_is_cut_out_is_gone_and_nothing_else() -> None:
    root = tree("a: {b: 1, c: [{d: 1, e: 2}, 3]}\nf: 1\n")
    pruned = prune(root, {("a", "b"), ("a", "c", 0, "d"), ("f",)})
    assert pruned == {"a": {"c": [{"e": "2"}, "3"]}}
    assert root == {"a": {"b": "1", "c": [{"d": "1", "e": "2"}, "3"]}, "f": "1"}


WORD = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    WORD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3), max_leaves=12
)


def write_flow(value: object) -> str:
    """*value* in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {write_flow(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(write_flow, value)) + "]" if isinstance(value, list) else str(value)


def paths_of(node: Written, before: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every path inside *node*, its own first."""
    inner = node.items() if isinstance(node, Entries) else enumerate(node) if isinstance(node, Items) else ()
    return [before, *(path for step, value in inner for path in paths_of(value, (*before, step)))]


@given(st.dictionaries(WORD, VALUES, max_size=4))
def test_always_finds_each_path_where_it_was_written(value: dict[str, object]) -> None:
    text = write_flow(value)
    root = tree(text)
    assert root == value
    places = Places(root)
    for path in paths_of(root)[1:]:
        _, node, steps = walk(root, path)
        assert steps == path
        written = node if isinstance(node, Scalar) else path[-1] if isinstance(path[-1], str) else write_flow(node)
        assert text[places.find(path).column - 1 :].startswith(written)


@given(st.dictionaries(WORD, VALUES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_always_cuts_exactly_what_was_named(value: dict[str, object], rng: object) -> None:
    root = tree(write_flow(value))
    keys = [path for path in paths_of(root)[1:] if isinstance(path[-1], str)]
    chosen = set(rng.sample(keys, min(2, len(keys))))  # type: ignore[attr-defined]
    pruned = prune(root, chosen)
    for path in keys:
        gone = any(path[: len(cut)] == cut for cut in chosen)
        assert (walk(pruned, path)[2] == path) is not gone
    assert root == value
