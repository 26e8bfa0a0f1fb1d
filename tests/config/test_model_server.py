"""Where the control socket is, for the daemon and for those who look for it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from geodns.config.model import Server
from geodns.config.model_server import find_control, find_controls

RUNTIME = {"RUNTIME_DIRECTORY": "/run/here:/run/there"}
STATE = {"STATE_DIRECTORY": "/state/here"}


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ({"control": "/a/b.sock", "state": "/s"}, RUNTIME | STATE, "/a/b.sock"),
        ({"control": None}, RUNTIME | STATE, None),
        ({"state": "/s"}, RUNTIME | STATE, "/run/here/control.sock"),
        ({"state": "/s"}, STATE, "/s/control.sock"),
        ({}, STATE, "/state/here/control.sock"),
        ({}, {}, "/var/lib/geodns/control.sock"),
    ],
)
def test_the_daemon_takes_the_first_that_there_is(
    written: dict[str, str | None], environ: dict[str, str], expected: str | None
) -> None:
    found = find_control(Server.model_validate(written), environ)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(
    ("written", "environ"),
    [*product(({}, {"state": "/s"}, {"control": "/c"}, {"control": None}), ({}, RUNTIME, STATE, RUNTIME | STATE))],
)
def test_a_client_looks_first_where_the_daemon_with_the_same_environment_is(
    written: dict[str, str | None], environ: dict[str, str]
) -> None:
    server = Server.model_validate(written)
    there, looked = find_control(server, environ), find_controls(server, environ)
    assert looked[:1] == (() if there is None else (there,))


def test_a_client_finds_a_daemon_of_systemd_from_a_shell() -> None:
    """Which has none of its variables, be there a configuration or not."""
    usual = Path("/run/geodns/control.sock")
    assert usual in find_controls(Server(), {}) and usual in find_controls(None, {})
    assert find_controls(Server.model_validate({"control": "/c"}), {}) == (Path("/c"),), "what was written is no guess"
