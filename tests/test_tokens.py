"""Reading the API's token from its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.errors import TokenError
from geodns.tokens import LEAST, MOST, read_token

SECRET = "0123456789abcdef"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("token") / "token"


def test_the_first_line_is_the_token(path: Path) -> None:
    path.write_text(f"  {SECRET}\t\r\nanother line\n")
    path.chmod(0o640)
    assert read_token(path) == (SECRET, "")


def test_a_file_that_everybody_may_read_is_told(path: Path) -> None:
    path.write_text(SECRET)
    path.chmod(0o604)
    token, warning = read_token(path)
    assert token == SECRET and "everybody on this machine may read the token" in warning and SECRET not in warning


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "found nothing"),
        (b"\n0123456789abcdef\n", "found nothing"),
        (b"0123456789abcde\n", "found 15 characters"),
        (b"x" * (MOST + 1), "found more"),
        (b"x" * 10_000_000, "found more"),
        (b"0123456789 abcdef", "without blanks"),
        (b"0123456789\x00abcdef", "without blanks"),
        ("0123456789äbcdef".encode(), "without blanks"),
    ],
)
def test_what_is_no_token(path: Path, octets: bytes, problem: str) -> None:
    path.write_bytes(octets)
    with pytest.raises(TokenError) as caught:
        read_token(path)
    assert str(caught.value).startswith(f"{path}: ") and problem in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="cannot be read: No such file or directory"):
        read_token(tmp_path / "none")
    with pytest.raises(TokenError, match="cannot be read: Is a directory"):
        read_token(tmp_path)


@given(octets=st.binary(max_size=60))
@settings(deadline=None)
def test_a_token_can_stand_in_a_header(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    try:
        token = read_token(path).text
    except TokenError as error:
        assert "\n" not in str(error)
    else:
        assert len(token) >= LEAST and token.isascii() and token.isprintable() and " " not in token
