"""When a certificate ends: read from certificates that an independent library wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geodns.health.probes.certificate import DAY, tell_end, valid_until

KEY = ed25519.Ed25519PrivateKey.generate()
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 31, 23, 59, 59)).map(lambda at: at.replace(microsecond=0))


def make(end: datetime, begin: datetime, name: str = "www.example.com", serial: int = 1) -> bytes:
    """A certificate in DER."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), serial, begin, end)
    return builder.sign(KEY, None).public_bytes(Encoding.DER)


@settings(deadline=None)
@given(MOMENTS, st.integers(0, 20000), st.text("abcdefgh.", min_size=1, max_size=60), st.integers(1, 2**158))
@example(datetime(2049, 12, 31, 23, 59, 59), 1, "a", 1)  # the last that is written with two digits for its year
@example(datetime(2050, 1, 1), 1, "a", 1)
@example(datetime(1950, 6, 1), 1, "a", 1)  # two digits, and the century before
@example(datetime(2051, 1, 1), 800, "a", 1)  # a beginning of one form and an end of the other
def test_the_end_is_what_was_written(end: datetime, days: int, name: str, serial: int) -> None:
    begin = max(datetime(1950, 1, 2), end - timedelta(days))
    assert valid_until(make(end, begin, name, serial)) == end.replace(tzinfo=UTC).timestamp()


VALID = make(datetime(2030, 1, 1), datetime(2020, 1, 1))


@settings(deadline=None, max_examples=500)
@given(st.integers(0, 150), st.binary(min_size=0, max_size=6), st.integers(0, len(VALID)))
def test_never_another_exception_for_what_is_no_certificate(at: int, octets: bytes, length: int) -> None:
    broken = (VALID[:at] + octets + VALID[at + len(octets) :])[:length]
    try:
        found = valid_until(broken)
    except ValueError:
        return
    assert -3e10 < found < 3e11


@pytest.mark.parametrize("octets", [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x85\0\0\0\0\1x", b"xx"])
def test_what_is_none_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="octet"):
        valid_until(octets)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (12.9 * DAY, "expires in 12 days"),
        (DAY, "expires in 1 day"),
        (60, "expires in less than a day"),
        (-60, "expired less than a day ago"),
        (-3.5 * DAY, "expired 3 days ago"),
    ],
)
def test_the_end_in_words(left: float, text: str) -> None:
    assert tell_end(left) == text
