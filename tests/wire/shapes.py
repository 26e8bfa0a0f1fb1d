"""Rdata of every type that has a form for PowerDNS, as hypothesis draws it: octets, put together without our code."""

from __future__ import annotations

from hypothesis import strategies as st


def numbers(octets: int, most: int = -1) -> st.SearchStrategy[bytes]:
    return st.integers(0, 256**octets - 1 if most < 0 else most).map(lambda i: i.to_bytes(octets, "big"))


U8, U16, U32 = numbers(1), numbers(2), numbers(4)
HAS_TYPE = st.integers(1, 65534).map(lambda i: i.to_bytes(2, "big"))  # CERT: both ends are reserved, RFC 4398 2.1
HAS_KEY = numbers(2, 0xBFFF)  # KEY: both upper bits say that there is none, RFC 2535 3.1.2
LABELS = st.lists(st.binary(min_size=1, max_size=12), max_size=4)
NAMES = LABELS.map(lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0")
STRINGS = st.one_of(st.binary(max_size=20), st.sampled_from((bytes(255), b"\xff" * 255))).map(
    lambda octets: bytes((len(octets),)) + octets
)
MANY = st.lists(STRINGS, min_size=1, max_size=4).map(b"".join)
REST = st.binary(min_size=1, max_size=40)
EIGHT = st.binary(min_size=8, max_size=8)
FOUR, SIXTEEN = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
TAGS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=15).map(lambda t: bytes((len(t),)) + t.encode())
HASHES = {1: 20, 2: 32, 4: 48}  # a digest's length by its type, RFC 4034, 4509, 6605
DIGESTS = st.sampled_from(sorted(HASHES)).flatmap(
    lambda kind: st.binary(min_size=HASHES[kind], max_size=HASHES[kind]).map(lambda digest: bytes((kind,)) + digest)
)
PRINTS = st.sampled_from((b"\x01\x01" + bytes(20), b"\x04\x02" + b"\xab" * 32))
TLSAS = st.sampled_from((b"\x03\x01\x00\x01\x02", b"\x03\x01\x01" + b"\xcd" * 32, b"\x00\x00\x02" + b"\xef" * 64))
ALPNS = st.lists(
    st.one_of(st.sampled_from((b"h2", b"h3", b"http/1.1")), st.binary(min_size=1, max_size=9)), min_size=1, max_size=3
).map(lambda ids: b"".join(bytes((len(i),)) + i for i in ids))


def parameter(key: int, value: bytes) -> bytes:
    return key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


@st.composite
def services(draw: st.DrawFn) -> bytes:
    """SVCB and HTTPS with parameters in rising order, as RFC 9460 2.2 wants them."""
    found: dict[int, bytes] = {
        1: draw(ALPNS),
        3: draw(U16),
        4: b"".join(draw(st.lists(FOUR, min_size=1, max_size=3))),
        6: b"".join(draw(st.lists(SIXTEEN, min_size=1, max_size=3))),
        7: b"/dns-query{?dns}",
        draw(st.integers(1000, 65000)): draw(st.binary(max_size=20)),
    }
    keys = draw(st.sets(st.sampled_from(sorted(found))))
    kept = {key: found[key] for key in sorted(keys)}
    no_default, mandatory = draw(st.tuples(st.booleans(), st.booleans()))
    if 1 in kept and no_default:
        kept[2] = b""
    if kept and mandatory:
        kept[0] = b"".join(key.to_bytes(2, "big") for key in sorted(kept))
    return b"\0\1" + draw(NAMES) + b"".join(parameter(key, kept[key]) for key in sorted(kept))


def each(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


WITH_KEY = st.sampled_from((b"\1", b"\2"))  # IPSECKEY's algorithms, RFC 4025 2.4; others PowerDNS does not take
GATEWAYS = st.one_of(
    each(U8, st.just(b"\1"), WITH_KEY, FOUR, REST),
    each(U8, st.just(b"\2"), WITH_KEY, SIXTEEN, REST),
    each(U8, st.just(b"\3"), WITH_KEY, NAMES, REST),
)
SHAPES: dict[int, st.SearchStrategy[bytes]] = {
    1: FOUR, 28: SIXTEEN, 2: NAMES, 5: NAMES, 12: NAMES, 39: NAMES, 17: each(NAMES, NAMES),
    6: each(NAMES, NAMES, U32, U32, U32, U32, U32), 13: each(STRINGS, STRINGS), 16: MANY, 99: MANY,
    15: each(U16, NAMES), 18: each(U16, NAMES), 36: each(U16, NAMES), 107: each(U16, NAMES), 33: each(U16, U16, U16, NAMES),
    35: each(U16, U16, STRINGS, STRINGS, STRINGS, NAMES), 25: each(HAS_KEY, U8, U8, REST), 48: each(U16, U8, U8, REST),
    60: each(U16, U8, U8, REST), 43: each(U16, U8, DIGESTS), 59: each(U16, U8, DIGESTS), 32769: each(U16, U8, DIGESTS),
    37: each(HAS_TYPE, U16, U8, REST), 44: PRINTS, 45: GATEWAYS, 49: REST, 52: TLSAS, 53: TLSAS, 61: REST,
    63: each(U32, st.just(b"\1\1" + b"\xab" * 48)), 64: services(), 65: services(),
    104: each(U16, EIGHT), 105: each(U16, FOUR), 106: each(U16, EIGHT),
    108: st.binary(min_size=6, max_size=6), 109: EIGHT, 256: each(U16, U16, REST),
    257: each(U8, TAGS, st.binary(max_size=40)),
}  # fmt: skip
