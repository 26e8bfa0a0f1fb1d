"""Who may ask what: the rules against a plain reading of them, over every combination."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.errors import ControlError
from geodns.server.access import Asker, Need, check_access, has_token, is_literal

TOKEN = "correct-horse-battery"
NEAR = ("127.0.0.1", "127.8.9.10", "::1")
FAR = ("192.0.2.7", "10.0.0.1", "2001:db8::1", "fe80::1%eth0", "::ffff:127.0.0.2", "128.0.0.1")
LITERAL = ("127.0.0.1:5301", "localhost", "LocalHost:80", "[::1]:5301", "[2001:db8::1]", "192.0.2.1", "localhost.")
NAMED = (
    "example.com",
    "example.com:5301",
    "127.0.0.1.example.com",
    "localhost.example.com",
    "evil",
    "",
    "a b",
    "[::1",
    "1:2:3",
)
RIGHT = (f"Bearer {TOKEN}",), (f"bearer  {TOKEN} ",)
WRONG = (
    (f"Bearer {TOKEN}x",),
    (f"Basic {TOKEN}",),
    (TOKEN,),
    ("Bearer",),
    ("",),
    (f"Bearer {TOKEN}",) * 2,
    ("Bearer \udcff",),
)


def decide(need: Need, asker: Asker, token: str | None) -> int:
    """200, or the status of the refusal."""
    try:
        check_access(need, asker, token)
    except ControlError as error:
        assert TOKEN not in str(error)
        return error.status
    return 200


@pytest.mark.parametrize("need", Need)
@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_combination(need: Need, token: str | None) -> None:
    count = 0
    for peer, hosts, given_token, proxied in product(
        ("", *NEAR, *FAR), ((), *((host,) for host in LITERAL + NAMED)), ((), *RIGHT, *WRONG), (False, True)
    ):
        found = decide(need, Asker(peer, hosts, given_token, proxied), token)
        near = peer in NEAR and not proxied
        if peer == "" or need is Need.OPEN:
            expected = 200  # the control socket, and what is everybody's
        elif token is not None and given_token:
            expected = 200 if given_token in RIGHT else 401
        elif need is Need.READ and near:
            expected = 200 if all(host in LITERAL for host in hosts) else 403
        else:
            expected = 403 if token is None else 401
        assert found == expected, (peer, hosts, given_token, proxied)
        count += 1
    assert count > 3000


def test_what_is_missing_is_told_by_its_key() -> None:
    for peer, need in (("127.0.0.1", Need.WRITE), ("192.0.2.1", Need.READ)):
        with pytest.raises(ControlError, match=r"set server\.api_token_file, or use the control socket"):
            check_access(need, Asker(peer), None)


@given(st.text(min_size=1, max_size=40))
@settings(deadline=None)
def test_nothing_else_is_the_token(text: str) -> None:
    assert has_token((f"Bearer {text}",), TOKEN) is (text.strip() == TOKEN)


@given(st.text(max_size=30))
@settings(deadline=None)
def test_a_name_is_never_taken_for_an_address(text: str) -> None:
    """Letters beyond f make a name, unless it is localhost."""
    assert not is_literal(f"{text}.example")
    assert not is_literal(f"{text}-host")
