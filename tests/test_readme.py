"""What README and the guide show is what happens: their commands are run against a started daemon."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest

from geodns.compiler.build import build

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/guide/explain.md")
DEADLINE = 60.0  # seconds: a first start compiles the packaged database


def read_console(page: str) -> list[tuple[str, str]]:
    """Every command that *page* shows after ``$``, and the lines below it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


SHOWN = [(page, *one) for page in PAGES for one in read_console(page)]
DIGS = [one for one in SHOWN if one[1].startswith("dig ")]
OURS = [one for one in SHOWN if one[1].startswith(".venv/bin/geodns ")]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a daemon that serves config/quickstart.yaml."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("quickstart")
    text = (ROOT / "config/quickstart.yaml").read_text()
    assert "127.0.0.1:5300" in text
    (folder / "quickstart.yaml").write_text(text.replace("127.0.0.1:5300", f"127.0.0.1:{free}"))
    daemon = subprocess.Popen([sys.executable, "-m", "geodns", "serve", "-c", str(folder / "quickstart.yaml")])
    try:
        wait_for(daemon, free)
        yield free
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0


def wait_for(daemon: subprocess.Popen[bytes], port: int) -> None:
    """Ask until the daemon answers."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert daemon.poll() is None, "the daemon has ended"
        try:
            dns.query.udp(dns.message.make_query("example.com", "SOA"), "127.0.0.1", timeout=0.5, port=port)
        except (dns.exception.Timeout, OSError):
            continue
        return
    pytest.fail("the daemon does not answer")


def test_there_is_something_to_run() -> None:
    assert len(DIGS) >= 3
    assert {page for page, *_ in OURS} == set(PAGES)
    assert len(SHOWN) == len(DIGS) + len(OURS), "a command that nobody tests"


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed: only the library asks")
@pytest.mark.parametrize(("page", "command", "output"), DIGS)
def test_dig_prints_what_is_shown(port: int, page: str, command: str, output: str) -> None:
    arguments = shlex.split(command.replace("-p 5300", f"-p {port}"))
    assert subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=30).stdout == output


@pytest.mark.parametrize(("page", "command", "output"), DIGS)
def test_a_library_is_answered_what_is_shown(port: int, page: str, command: str, output: str) -> None:
    words = shlex.split(command)
    assert words[:5] == ["dig", "@127.0.0.1", "-p", "5300", "www.example.com"]
    subnet = next(word for word in words if word.startswith("+subnet=")).removeprefix("+subnet=")
    query = dns.message.make_query(words[4], "A", use_edns=0, options=[dns.edns.ECSOption.from_text(subnet)])
    reply = dns.query.udp(query, "127.0.0.1", timeout=5, port=port)
    assert [str(record) for rrset in reply.answer for record in rrset] == output.split()


@pytest.mark.parametrize(("page", "command", "output"), OURS)
def test_geodns_prints_what_is_shown(page: str, command: str, output: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "geodns", *shlex.split(command)[1:]]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert without_serial(ended.stdout) == without_serial(output)


def without_serial(text: str) -> str:
    """*text* with every SOA's serial as 1: it is the time at which the configuration was written on this machine."""
    return re.sub(r"(IN SOA \S+ \S+) \d+", r"\1 1", text)


def test_make_run_prints_questions_with_three_answers(port: int) -> None:
    lines = re.findall(r"@echo '  (dig [^']*)'", (ROOT / "Makefile").read_text())
    subnets = [line.partition("+subnet=")[2] for line in lines]
    assert len(subnets) == 3
    answers = set()
    for subnet in subnets:
        query = dns.message.make_query("www.example.com", "A", use_edns=0, options=[dns.edns.ECSOption.from_text(subnet)])
        reply = dns.query.udp(query, "127.0.0.1", timeout=5, port=port)
        answers |= {str(record) for rrset in reply.answer for record in rrset}
    assert len(answers) == 3


def test_the_configuration_that_readme_shows_is_whole(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "geodns.yaml").write_text(text)
    built = build(tmp_path / "geodns.yaml", None)
    assert [complaint for complaint in built.complaints if "days old" not in complaint.text] == []


def test_the_settings_of_powerdns_that_readme_shows_are_those_of_the_file() -> None:
    (shown,) = re.findall(r"```ini\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = (ROOT / "deploy/powerdns/pipe-shim.conf").read_text().splitlines()
    assert shown.splitlines() == [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", *PAGES[1:], "docs/reference/command-line.md"]
)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not ((ROOT / page).parent / target).exists()] == []


def test_make_has_the_targets_that_are_named() -> None:
    named = {
        word
        for page in ("README.md", "CONTRIBUTING.md", "SECURITY.md")
        for word in re.findall(r"make ([a-z]+)", (ROOT / page).read_text())
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


def test_the_licence_of_the_data_gets_its_notice() -> None:
    text = (ROOT / "README.md").read_text()
    assert "[IP Geolocation by DB-IP](https://db-ip.com)" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "It was changed" in text


def test_the_danger_of_a_ds_record_is_told() -> None:
    for page in ("README.md", "SECURITY.md", "CHANGELOG.md"):
        assert re.search(r"(?i)do not publish (a DS|one)", " ".join((ROOT / page).read_text().split())), page
