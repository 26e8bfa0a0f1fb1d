"""The container file and the service unit: what can be held without an engine or a service manager."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from geodns.ask import main as ask_main
from geodns.compiler.child import COMPILE_LIMIT
from geodns.entry import parse_serve

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """The container file as (instruction, rest), continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def the_only(name: str) -> str:
    (rest,) = [rest for word, rest in instructions() if word == name]
    return rest


def arrays(name: str) -> list[str]:
    """An instruction in exec form: no shell, so that signals reach the daemon."""
    words = json.loads(the_only(name))
    assert isinstance(words, list)
    return words


def test_container_has_two_stages_and_the_second_has_no_sources() -> None:
    words = [word for word, _ in instructions()]
    assert words.count("FROM") == 2
    second = len(words) - words[::-1].index("FROM")
    assert "COPY" not in words[second:]
    (run,) = [rest for word, rest in instructions()[second:] if word == "RUN"]
    assert "--no-index --find-links /wheels geodns" in run


def test_container_copies_all_that_the_wheel_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"pyproject.toml", "setup.py", "src", project["readme"], *project["license-files"]}
    copied = {name.removeprefix("./") for word, rest in instructions() if word == "COPY" for name in rest.split()[:-1]}
    assert needed <= copied
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all(any(fnmatch(name, pattern) for pattern in allowed) for name in copied)
    assert all((ROOT / name).exists() for name in copied)


def test_container_has_the_native_engine() -> None:
    """Extensions are optional, so an image without them would be built without a word: it asks for the version."""
    steps = [rest for _, rest in instructions()]
    (compiler,) = [number for number, rest in enumerate(steps) if re.search(r"apt-get install .* gcc libc6-dev ", rest)]
    (wheel,) = [number for number, rest in enumerate(steps) if rest.startswith("pip wheel")]
    assert compiler < wheel
    commands = [command.strip() for rest in steps[wheel:] for command in rest.split("&&")]
    asked = commands.index("/opt/geodns/bin/geodns --version | grep --fixed-strings '(native)'")
    (installed,) = [number for number, command in enumerate(commands) if "/pip install" in command]
    assert installed < asked


def test_container_is_not_root_and_may_bind_port_53() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", the_only("USER"))
    run = [rest for word, rest in instructions() if word == "RUN"][-1]
    assert "setcap cap_net_bind_service=+ep /opt/geodns/bin/python " in run
    assert "venv --copies" in run, "a capability on the system's interpreter would be everybody's"
    assert "--uid " + the_only("USER").split(":")[0] in run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability to a file")
@pytest.mark.skipif(shutil.which("setcap") is None, reason="setcap is not installed")
def test_container_recipe_for_port_53_works_without_root() -> None:
    """The same steps with the interpreter of this system: every name of the copy may bind a low port, the original not."""
    original = shutil.which("python3", path="/usr/bin")
    if original is None:
        pytest.skip("no interpreter in /usr/bin that another user could run")
    code = "import socket; socket.socket().bind(('127.0.0.1', 1))"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = subprocess.run([original, "-m", "venv", "--copies", "--without-pip", name], check=False, capture_output=True)
        if made.returncode:
            pytest.skip("this interpreter makes no virtual environments")
        for link in folder.glob("bin/python3*"):
            link.unlink()
            link.symlink_to("python")
        given = subprocess.run(["setcap", "cap_net_bind_service=+ep", str(folder / "bin" / "python")], check=False)
        if given.returncode:
            pytest.skip("this file system keeps no capabilities")
        names = sorted(str(path) for path in folder.glob("bin/python*"))
        assert len(names) >= 2
        for interpreter in names:
            subprocess.run([interpreter, "-c", code], check=True, user=65534, group=65534, extra_groups=[])
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 1:
        refused = subprocess.run(
            [original, "-c", code], capture_output=True, check=False, user=65534, group=65534, extra_groups=[]
        )
        assert b"PermissionError" in refused.stderr


def test_container_health_check_is_a_command_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    options, _, command = the_only("HEALTHCHECK").partition(" CMD ")
    words = json.loads(command)
    assert words[1:3] == ["-m", "geodns.ask"]
    assert "--start-period=" in options
    arguments = [word.replace("53", "1") if word == "53" else word for word in words[3:]]
    assert ask_main([*arguments, "--timeout", "0.1"]) == 1, "nobody is at that port: unhealthy"
    assert capsys.readouterr().err.startswith("127.0.0.1 port 1: ")


def test_container_starts_the_daemon() -> None:
    assert arrays("ENTRYPOINT") == ["/opt/geodns/bin/geodns"]
    assert parse_serve(arrays("CMD")) == (True, Path("/etc/geodns/geodns.yaml"))


def unit() -> dict[str, list[str]]:
    """The service unit: key to all its values."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "deploy" / "geodns.service").read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_unit_waits_for_readiness_longer_than_the_compiler_may_take() -> None:
    (kind,), (text,) = unit()["Type"], unit()["TimeoutStartSec"]
    assert kind == "notify"
    assert int(text.removesuffix("min")) * 60 > COMPILE_LIMIT


def test_unit_starts_and_reloads_what_exists() -> None:
    (start,), (reload,) = unit()["ExecStart"], unit()["ExecReload"]
    assert start.split()[0] == "/opt/geodns/bin/geodns"
    assert parse_serve(start.split()[1:]) == (True, Path("/etc/geodns/geodns.yaml"))
    program, *words = reload.split()
    assert program == "/opt/geodns/bin/geodns"
    asked = subprocess.run([sys.executable, "-m", "geodns", *words, "--help"], capture_output=True, text=True, check=True)
    assert "geodns reload" in asked.stdout
    assert "--config" not in words, "with a broken file that would be the end of it, and the daemon would not know"


def test_unit_may_bind_port_53_and_nothing_else() -> None:
    assert unit()["AmbientCapabilities"] == unit()["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert unit()["NoNewPrivileges"] == ["yes"]
    assert unit()["DynamicUser"] == ["yes"]


def test_unit_lets_the_daemon_do_what_it_does() -> None:
    """It speaks IP and to the service manager; it keeps state; it opens a file per TCP client."""
    assert set(unit()["RestrictAddressFamilies"][0].split()) >= {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert unit()["StateDirectory"] == unit()["RuntimeDirectory"] == unit()["LogsDirectory"] == ["geodns"]
    assert int(unit()["LimitNOFILE"][0]) > 10000
    assert int(unit()["TasksMax"][0]) >= 2048  # as many threads as `server.workers` can be, at two addresses
    # niceness and the limit of open files are @resources, which @system-service has; dropping users is not needed here
    assert unit()["SystemCallFilter"] == ["@system-service", "~@privileged"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_is_one_that_systemd_understands_and_rates_well(tmp_path: Path) -> None:
    copy = tmp_path / "geodns.service"
    copy.write_text(
        (ROOT / "deploy" / "geodns.service").read_text().replace("/opt/geodns/bin/geodns", shutil.which("true") or "")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert "geodns.service" not in verified.stderr
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(copy)], capture_output=True, check=False
    )
    assert rated.returncode == 0, "exposure above 2.0"
