"""How a scalar's source text becomes a value.

Knows every kind of value: numbers, durations, booleans, addresses, networks, paths, names. Knows nothing of keys.
Each parser takes text and raises `ValueError` in words for the operator; values that are no text (from code, not from
a file) pass through to pydantic's own check.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from .tree import Scalar, describe, is_null, is_off

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on"), ("false", "no", "off")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
MOST_TTL = 2**31 - 1  # RFC 2181 8: "a TTL value of zero through 2147483647"


def one_value(given: Any) -> Any:
    """A scalar that says something; `ValueError` for a list, a mapping or nothing. Text comes back as plain `str`."""
    if isinstance(given, (dict, list)):
        raise ValueError(f"must be one value, got {describe(given)}")
    if is_null(given):
        raise ValueError("must not be empty")
    return str(given) if isinstance(given, str) else given


def parse_written(given: Any) -> Any:
    """Any scalar, as its source text; only nothing at all is refused (``~`` and ``null`` are text here)."""
    if isinstance(given, (dict, list)):
        raise ValueError(f"must be one value, got {describe(given)}")
    if given is None or (isinstance(given, Scalar) and given.plain and not given):
        raise ValueError("must not be empty")
    return str(given) if isinstance(given, str) else given


def parse_flag(given: Any) -> Any:
    """true, yes, on, false, no, off, in any case."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    word = text.lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise ValueError(f"must be true or false, got {describe(text)}")


def whole(least: int, most: int) -> Callable[[Any], Any]:
    """A parser of whole numbers *least* .. *most*, in decimal whatever they begin with."""

    def parse(given: Any) -> Any:
        text = one_value(given)
        number = text
        if isinstance(text, str):
            if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
                raise ValueError(f"must be a whole number {least}..{most}, got {describe(text)}")
            number = int(text)
        if isinstance(number, int) and not least <= number <= most:
            raise ValueError(f"must be {least}..{most}, got {number}")
        return number

    return parse


def parse_number(text: str) -> float:
    """A finite decimal number."""
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        raise ValueError(f'must be a number with a decimal point, got "{text}" (did you mean {text.replace(",", ".")}?)')
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"must be a number, got {describe(text)}")
    return float(text)


def parse_share(given: Any) -> Any:
    """A number 0 .. 1."""
    text = one_value(given)
    share = parse_number(text) if isinstance(text, str) else text
    if isinstance(share, (int, float)) and not 0 <= share <= 1:
        raise ValueError(f"must be 0..1, got {describe(text)}")
    return share


def parse_seconds(text: str) -> float:
    """A duration with its unit, in seconds."""
    match = DURATION.fullmatch(text)
    if match:
        return float(match[1]) * _UNITS[match[2]]
    if _NUMBER.fullmatch(text):
        raise ValueError(f"must have a unit (ms, s, m, h, d): did you mean {text}s?")
    raise ValueError(f"must be a duration like 500ms, 5s, 2m, 1h or 7d, got {describe(text)}")


def duration(least: float, most: float) -> Callable[[Any], Any]:
    """A parser of durations *least* .. *most*, both in seconds."""

    def parse(given: Any) -> Any:
        text = one_value(given)
        seconds = parse_seconds(text) if isinstance(text, str) else text
        if isinstance(seconds, (int, float)) and not least <= seconds <= most:
            raise ValueError(f"must be {write_seconds(least)}..{write_seconds(most)}, got {text}")
        return seconds

    return parse


def write_seconds(seconds: float) -> str:
    """*seconds* as the shortest duration that a file may hold."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


def parse_ttl(given: Any) -> Any:
    """Whole seconds, bare or as a duration; 0 .. 2147483647."""
    text = one_value(given)
    seconds = text
    if isinstance(text, str):
        if re.fullmatch(r"[+-]?[0-9]{1,20}", text):
            seconds = int(text)
        elif DURATION.fullmatch(text):
            seconds = parse_seconds(text)
            if seconds != int(seconds):
                raise ValueError(f"must be whole seconds, got {text}")
            seconds = int(seconds)
        else:
            raise ValueError(f"must be seconds, or a duration like 5m or 1h, got {describe(text)}")
    if isinstance(seconds, int) and not 0 <= seconds <= MOST_TTL:
        raise ValueError(f"must be 0..{MOST_TTL} seconds, got {text}")
    return seconds


def parse_address(given: Any) -> Any:
    """An IPv4 or IPv6 address without port, prefix length or zone."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"must be an IP address, got {describe(text)}{_address_hint(text)}") from None
    if "%" in text:
        raise ValueError(f'must be an IP address without a zone, got "{text}"')
    return address


def _address_hint(text: str) -> str:
    if re.fullmatch(r"[0-9.]+:[0-9]+|\[.*\](:[0-9]+)?", text):
        return " (an address alone: no port, no brackets)"
    if re.fullmatch(r"[0-9.]+", text) and re.search(r"(^|\.)0[0-9]", text):
        return " (no leading zeros: some read them as octal)"
    return ""


def parse_network(given: Any) -> Any:
    """A prefix; an address alone is one of full length. Bits after the prefix must be zero."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    try:
        return ip_network(text)
    except ValueError:
        try:
            loose = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"must be a network like 192.0.2.0/24 or 2001:db8::/32, got {describe(text)}") from None
        raise ValueError(f'"{text}" has bits set after its prefix, did you mean {loose}?') from None


def parse_asn(given: Any) -> Any:
    """An AS number, with or without "AS" before it."""
    text = one_value(given)
    if isinstance(text, str):
        text = re.sub(r"^[Aa][Ss](?=[0-9])", "", text)
    return whole(1, 2**32 - 1)(text)


def parse_coordinates(given: Any) -> Any:
    """Latitude and longitude in degrees."""
    if not isinstance(given, list):
        if isinstance(given, tuple):
            return given
        raise ValueError(f"must be [latitude, longitude], got {describe(given)}")
    if len(given) == 4 and all(isinstance(item, str) and re.fullmatch(r"[+-]?[0-9]+", item) for item in given):
        a, b, c, d = given
        raise ValueError(f"must be [latitude, longitude] with decimal points, did you mean [{a}.{b}, {c}.{d}]?")
    if len(given) != 2:
        raise ValueError(f"must be [latitude, longitude], got {len(given)} of them")
    latitude, longitude = (parse_number(text) if isinstance(text := one_value(item), str) else text for item in given)
    if not -90 <= latitude <= 90:
        swapped = " (swapped?)" if -180 <= latitude <= 180 and -90 <= longitude <= 90 else ""
        raise ValueError(f"latitude must be -90..90, got {given[0]}{swapped}")
    if not -180 <= longitude <= 180:
        raise ValueError(f"longitude must be -180..180, got {given[1]}")
    return (latitude, longitude)


def parse_path(given: Any) -> Any:
    """A path; a relative one is taken from the folder of the file that names it."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL character")
    return Path(given.file).parent / text if isinstance(given, Scalar) else Path(text)


def parse_upper(given: Any) -> Any:
    """A word in upper case: codes and mnemonics."""
    text = one_value(given)
    return text.upper() if isinstance(text, str) else text


def parse_word(choices: tuple[str, ...]) -> Callable[[Any], Any]:
    """A parser of one of *choices*, in any case."""

    def parse(given: Any) -> Any:
        text = one_value(given)
        if isinstance(text, str) and text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}; got {describe(text)}{did_you_mean(text, choices)}")
        return text.lower() if isinstance(text, str) else text

    return parse


def did_you_mean(word: str, known: Any) -> str:
    """``, did you mean "weight"?`` where one of *known* is near to *word*, else nothing."""
    import difflib  # noqa: PLC0415  (only ever needed for a complaint)

    folded: dict[str, str] = {}
    for name in map(str, known):
        folded.setdefault(name.lower(), name)
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f', did you mean "{folded[near[0]]}"?' if near else ""


def check_dns_name(text: str) -> str:
    """*text* if it can be a DNS name (relative or absolute); `ValueError` says why not, with the A-label for other scripts.

    RFC 1035 3.1 and 2.3.4: labels of 1 to 63 octets, 255 in all with their length octets.
    """
    if not text.isascii():
        raise ValueError(f'"{text}" has other characters than ASCII{_a_label_hint(text)}')
    labels = text.removesuffix(".").split(".")
    for label in labels:
        if not label:
            raise ValueError(f'"{text}" has an empty label')
        if len(label) > 63:
            raise ValueError(f'"{text}" has a label of {len(label)} octets; 63 are allowed')
        if not re.fullmatch(r"\*|[A-Za-z0-9_/-]+", label):
            raise ValueError(f'"{text}" is not a DNS name')
    if sum(len(label) + 1 for label in labels) + 1 > 255:
        raise ValueError(f'"{text}" is longer than 255 octets')
    return text


def _a_label_hint(text: str) -> str:
    try:
        return f': write "{text.encode("idna").decode("ascii")}"'
    except UnicodeError:
        return ""


def parse_target(given: Any) -> Any:
    """An absolute DNS name, lower case, with its final dot."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    check_dns_name(text)
    if not text.endswith("."):
        raise ValueError(f'a target ends in a dot: did you mean "{text}."?')
    if "*" in text:
        raise ValueError(f'a target cannot be a wildcard, got "{text}"')
    return text.lower()


def parse_probe_at(given: Any) -> Any:
    """Where probes go instead of to the member: ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, NAME or NAME:PORT."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    host, port = split_port(text)
    if port is not None:
        whole(1, 65535)(port)
    try:
        ip_address(host)
    except ValueError:
        if ":" in host or text.startswith("[") or re.fullmatch(r"[0-9.]*", host):
            raise ValueError(f'must be ADDRESS, ADDRESS:PORT, NAME or NAME:PORT, got "{text}"') from None
        check_dns_name(host)
    return text


def split_port(text: str) -> tuple[str, str | None]:
    """Host and port of ``a:1``, ``[::1]:53``, ``a`` or ``::1``; the port is still text, None where there is none."""
    match = re.fullmatch(r"\[(.*)\](?::([^:\]]*))?", text) or re.fullmatch(r"([^:]*):([^:]*)", text)
    return (match[1], match[2]) if match else (text, None)


def refuse_feature(given: Any) -> None:
    """Nothing but off: the key is known, the feature comes later."""
    if not is_off(given):
        raise ValueError('this version has no such feature; leave it out or write "off"')


def none_if_off(given: Any) -> Any:
    """None for what switches off, anything else as it is."""
    return None if is_off(given) else given


def listed(given: Any) -> Any:
    """A list; one value alone is a list of one, nothing an empty one."""
    if isinstance(given, (list, tuple, set, frozenset)):
        return given
    return () if is_null(given) else (given,)


def mapped(given: Any) -> Any:
    """A mapping; nothing is an empty one."""
    return {} if is_null(given) else given
