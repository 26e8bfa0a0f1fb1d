"""The `server` section: values with forms of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.config.load import load_server
from geodns.config.model_server import RAREST, QueryLog, parse_sample, parse_size


@pytest.mark.parametrize(
    ("text", "share"), [("1", 1.0), ("4", 0.25), ("100%", 1.0), ("2.5%", 0.025), (".5%", 0.005), (str(RAREST), 1 / RAREST)]
)
def test_a_sample_is_one_in_so_many_or_a_percentage(text: str, share: float) -> None:
    assert parse_sample(text) == pytest.approx(share)


@given(st.text(max_size=8) | st.from_regex(r"[0-9.]{0,8}%?", fullmatch=True))
def test_a_sample_is_always_a_share_or_refused(text: str) -> None:
    try:
        share = parse_sample(text)
    except ValueError as error:
        assert "must" in str(error)
    else:
        assert 1 / RAREST <= share <= 1


@pytest.mark.parametrize(
    ("text", "octets"),
    [("100MB", 10**8), ("1 GiB", 2**30), ("128kib", 2**17), ("100KB", 10**5), ("1000gb", 10**12), ("2 mB", 2 * 10**6)],
)
def test_sizes(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["99kB", "1001GB", "100", "1TB", "-1MB", "1.5MB", "MB", ""])
def test_what_is_no_size_or_none_that_makes_sense(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_size(text)


def test_the_query_log_is_a_path_beside_the_file_or_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "geodns.yaml"
    path.write_text("server: {query_log: queries.json}\n")
    assert load_server(path).query_log == QueryLog(path=tmp_path / "queries.json")
    path.write_text("server: {query_log: {path: /q, sample: 50%, max_size: off}, watch: on}\n")
    server = load_server(path)
    assert server.query_log == QueryLog(path=Path("/q"), sample=0.5, max_size=None)
    assert server.watch
