"""Contexts are made once, and again when what they trust has changed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from geodns.health.probes.finding import Unable
from geodns.health.probes.trust import Trust


def authorities(context: ssl.SSLContext) -> set[bytes]:
    return set(context.get_ca_certs(binary_form=True))


def der(authority: trustme.CA) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())


def test_a_file_is_trusted_in_place_of_the_system_and_read_again_when_it_changes(tmp_path: Path) -> None:
    trust, path = Trust(), tmp_path / "ca.pem"
    one, other = trustme.CA(), trustme.CA()
    one.cert_pem.write_to_path(path)
    first = trust.find(True, path)
    assert authorities(first) == {der(one)}
    assert trust.find(True, path) is first
    # (Renamed over it, of the same size perhaps, and with the time of the first: it is another file nevertheless.)
    other.cert_pem.write_to_path(tmp_path / "next.pem")
    found = path.stat()
    os.utime(tmp_path / "next.pem", ns=(found.st_mtime_ns, found.st_mtime_ns))
    (tmp_path / "next.pem").rename(path)
    second = trust.find(True, path)
    assert second is not first and authorities(second) == {der(other)}


def test_a_file_that_broke_is_told_until_it_is_mended(tmp_path: Path) -> None:
    trust, path = Trust(), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    first = trust.find(True, path)
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    for _ in range(2):
        with pytest.raises(Unable, match=r"ca\.pem has no certificates"):
            trust.find(True, path)
    path.write_bytes(kept)
    assert authorities(trust.find(True, path)) == authorities(first)


def test_the_settings_do_not_mix(tmp_path: Path) -> None:
    trust, path = Trust(), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    contexts = [trust.find(True, None), trust.find(False, None), trust.find(True, path), trust.find(True, path, "http/1.1")]
    assert len({id(context) for context in contexts}) == 4
    for context in contexts:
        verified = context is not contexts[1]
        assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verified, verified)


def test_without_verification_no_file_is_read(tmp_path: Path) -> None:
    assert Trust().find(False, tmp_path / "none.pem").verify_mode is ssl.CERT_NONE


def test_the_environment_cannot_have_keys_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert Trust().find(True, None).keylog_filename is None
