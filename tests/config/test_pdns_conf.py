"""How a pdns.conf is read: compared with PowerDNS's own reading where it is installed, by examples everywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.powerdns.pdns import SERVER, needs_pdns

from geodns.config.pdns_conf import MOST_OCTETS, PdnsConf, read_pdns_conf

# Settings that PowerDNS knows without a backend, two with a default and two without.
NAMES = ("cache-ttl", "negquery-cache-ttl", "server-id", "api-key")


def read(folder: Path, text: str | bytes) -> PdnsConf:
    """What is made of *text*."""
    path = folder / "pdns.conf"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_pdns_conf(path)


def values(conf: PdnsConf) -> dict[str, str]:
    return {name: setting.value for name, setting in conf.settings.items()}


def ask_pdns(folder: Path) -> dict[str, str] | None:
    """What PowerDNS itself takes from the pdns.conf in *folder*, where it is not the default; None where it refuses."""
    done = subprocess.run([SERVER, f"--config-dir={folder}", "--config=diff"], capture_output=True, check=False)
    if done.returncode:
        return None
    lines = [line for line in done.stdout.decode("latin-1").split("\n") if line and not line.startswith("#")]
    found = dict(line.split("=", 1) for line in lines)
    return {name: value for name, value in found.items() if name in NAMES}


blank = st.text(" \t", max_size=2)
word = st.text("ab5#\\+= \t,", max_size=6)
line = st.one_of(
    st.builds("{}{}{}{}{}".format, blank, st.sampled_from(NAMES), blank, st.sampled_from(["=", "+=", "=", ""]), word),
    st.builds("{}#{}".format, blank, word),
    st.sampled_from(["", "\\", " \\", "\r"]),
)


@needs_pdns()
@settings(deadline=None, max_examples=100)
@given(st.lists(line, max_size=6), st.lists(line, max_size=3))
@example([], ["cache-ttl=\\", ""])
@example(["cache-ttl=5\\", ""], ["cache-ttl=5\\", "", ""])
def test_always_reads_as_powerdns_does(tmp_path_factory: pytest.TempPathFactory, main: list[str], more: list[str]) -> None:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "more").mkdir()
    (folder / "more" / "a.conf").write_text("\n".join(more))
    conf = read(folder, "\n".join([*main, "", "", f"include-dir={folder}/more"]))
    theirs = ask_pdns(folder)
    if theirs is None:
        assert conf.complaints, "PowerDNS refuses this file"
        return
    defaults = {"cache-ttl": "20", "negquery-cache-ttl": "60", "server-id": "", "api-key": ""}
    ours = {name: value for name, value in values(conf).items() if name in NAMES}
    assert {**defaults, **ours} == {**defaults, **theirs}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cache-ttl=5 # why\n", {"cache-ttl": "5"}),
        ("server-id=a#b # why\n", {"server-id": "a#b # why"}),
        ("  cache-ttl = 5\n#cache-ttl=6\n", {"cache-ttl": "5"}),
        ("launch=bind\nlaunch+=pipe\n", {"launch": "bind, pipe"}),
        ("cache-ttl+=5\n", {"cache-ttl": "20, 5"}),
        ("server-id=a\\\n b\n", {"server-id": "a b"}),
        ("server-id=a\\", {}),
        ("any-to-tcp\n", {"any-to-tcp": ""}),
        ("cache-ttl=5\r\ncache-ttl=6\r\n", {"cache-ttl": "6"}),
        (b"server-id=\xff\n", {"server-id": "\udcff"}),
    ],
)
def test_lines(tmp_path: Path, text: str | bytes, found: dict[str, str]) -> None:
    conf = read(tmp_path, text)
    assert (values(conf), conf.complaints) == (found, [])


def test_the_last_word_counts_and_says_where_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "b.conf").write_text("\n\ncache-ttl=2\n")
    (folder / "a.conf").write_text("cache-ttl=3\n")
    (folder / ".hidden.conf").write_text("cache-ttl=4\n")
    (folder / "z.conf.bak").write_text("cache-ttl=5\n")
    conf = read(tmp_path, f"include-dir={folder}\ncache-ttl=1\n")
    assert conf.find("cache-ttl").value == "2"
    assert str(conf.find("cache-ttl").place) == f"{folder}/b.conf:3"
    assert (conf.find("query-cache-ttl").value, conf.find("query-cache-ttl").is_written) == ("20", False)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("5", 5),
        (" 7", 7),
        ("0x10", 16),
        ("010", 8),
        ("08", 0),
        ("5s", 5),
        ("-1", -1),
        ("+3", 3),
        ("", 0),
        ("x", None),
        ("-", None),
    ],
)
def test_numbers_are_those_of_c(tmp_path: Path, value: str, number: int | None) -> None:
    assert read(tmp_path, f"cache-ttl={value}\n").find("cache-ttl").number == number


@pytest.mark.parametrize("value", ["yes", "No", "false", "0", "", "on"])
def test_all_but_two_words_are_yes(tmp_path: Path, value: str) -> None:
    assert read(tmp_path, f"any-to-tcp={value}\n").find("any-to-tcp").is_on
    for no in ("no", "off"):
        assert not read(tmp_path, f"any-to-tcp={no}\n").find("any-to-tcp").is_on


def test_backends_may_be_many(tmp_path: Path) -> None:
    conf = read(tmp_path, "launch=bind,pipe:one, pipe:two  remote\n")
    assert conf.find_launched() == [("bind", "bind"), ("pipe", "pipe-one"), ("pipe", "pipe-two"), ("remote", "remote")]


def test_what_cannot_be_read_is_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "pdns.conf"
    assert [str(one) for one in read_pdns_conf(path).complaints] == [f"{path}: cannot be read: No such file or directory"]
    assert [one.text for one in read_pdns_conf(tmp_path).complaints] == ["cannot be read: Is a directory"]
    conf = read(tmp_path, b"#" * (MOST_OCTETS + 1))
    assert ([one.text for one in conf.complaints], conf.is_read) == (["is larger than 4 MiB: not a pdns.conf"], False)
    conf = read(tmp_path, "\ninclude-dir=/nonexistent\n")
    assert [str(one) for one in conf.complaints] == [
        f"{path}:2: include-dir: PowerDNS does not start, for /nonexistent cannot be listed: No such file or directory"
    ]
    assert conf.is_read


def test_an_addition_to_nothing_is_a_complaint(tmp_path: Path) -> None:
    conf = read(tmp_path, "launch+=pipe\n")
    assert [str(one) for one in conf.complaints] == [
        f"{tmp_path}/pdns.conf:1: launch: PowerDNS does not start, for += adds to what is written above it, and nothing is"
    ]


def test_includes_are_not_followed_further(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.conf").write_text(f"include-dir={tmp_path}/{other}\nserver-id={name}\n")
    conf = read(tmp_path, f"include-dir={tmp_path}/a\n")
    assert (conf.find("server-id", "").value, conf.complaints) == ("a", [])


def test_what_is_included_must_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "more" / "x.conf").mkdir(parents=True)
    conf = read(tmp_path, f"include-dir={tmp_path}/more\ncache-ttl=1\n")
    assert [str(one) for one in conf.complaints] == [
        f"{tmp_path}/more/x.conf: PowerDNS does not start, for this is not a file"
    ]
    assert conf.find("cache-ttl").value == "1"
