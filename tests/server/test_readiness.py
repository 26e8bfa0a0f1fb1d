"""Telling the service manager: the datagrams of sd_notify(3), and that their failure is nobody's trouble."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from geodns.server.readiness import notify, notify_reloading


@pytest.mark.parametrize("abstract", [False, True])
def test_one_datagram_with_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"geodns-test-{tmp_path}" if abstract else str(tmp_path / "notify")
        manager.bind("\0" + name if abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        notify("READY=1", "STATUS=fine")
        assert manager.recv(100) == b"READY=1\nSTATUS=fine"
        notify_reloading()
        assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


@pytest.mark.parametrize("where", ["", "relative", "/nowhere/at/all", "vsock:1:2"])
def test_never_raises(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_full_socket_does_not_block_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service manager that does not read must not stop us: a queue of datagrams is soon full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr("geodns.server.readiness.PATIENCE", 0.05)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    filler.sendto(b"x", str(tmp_path / "notify"))
        notify("READY=1")
