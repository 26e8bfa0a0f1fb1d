"""The disk of the state directory is full: everything is served, everything is said, nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
from tests.operation.sites import Operated, until
from tests.test_daemon import running


def may_mount() -> bool:
    """May we have a file system of our own?"""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def on_small_disk(site: Operated, size: str) -> Sequence[str]:
    """A command that has the state directory on a disk of *size*, of its own."""
    site.state.mkdir()
    script = f'mount -t tmpfs -o size={size} none "{site.state}" && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", sys.executable]


@pytest.mark.skipif(not may_mount(), reason="only root can mount a small disk")
def test_a_daemon_whose_disk_is_full_serves_and_says_what_is_not_saved(site: Operated) -> None:
    with running(site, command=on_small_disk(site, "1m")) as daemon:
        inside = f"/proc/{daemon.process.pid}/root{site.state}"
        until(lambda: os.path.exists(f"{inside}/states.json"))  # noqa: PTH110 - a path of another mount namespace
        with open(f"{inside}/rubbish", "wb") as rubbish:  # noqa: PTH123
            until(lambda: fill(rubbish.fileno()))
        site.webs["ams"].kill()
        until(lambda: site.www() == ["127.0.1.2"])
        line = daemon.wait_for("states.json: cannot be saved")
        assert f" error {site.state}/states.json: cannot be saved: No space left on device; a restart would not" in line
        done = site.geodns("drain", "nyc", "--for", "1h")
        assert done.returncode == 1
        assert f"cannot be saved, so a restart forgets it: {site.state}/overrides.json: No space left" in done.stderr
        assert site.www() == ["127.0.1.3"], "and it counts all the same"
        kept = json.loads(read(f"{inside}/states.json"))["states"]
        assert [state[0] for _, _, state in kept] == ["up"] * 3, "what was saved before is whole"
        site.write(static="192.0.2.77")
        assert site.client.post("reload", {})["ok"], "a reload needs no disk"
        assert site.ask() == ["192.0.2.77"]
        assert "cannot be kept as the last good one: No space left on device" in "".join(daemon.lines)
        os.unlink(f"{inside}/rubbish")  # noqa: PTH108
        until(lambda: '"down"' in read(f"{inside}/states.json"))
        site.override("drain", "sin", duration=3600)
        assert '"sin"' in read(f"{inside}/overrides.json")
        assert '"nyc"' in read(f"{inside}/overrides.json"), "the one before is saved with it"
        assert "Traceback" not in "".join(daemon.lines)


def fill(descriptor: int) -> bool:
    """Write until nothing more goes in."""
    try:
        os.write(descriptor, bytes(4096))
    except OSError:
        return True
    return False


def read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123 - a path of another mount namespace
        return file.read()
