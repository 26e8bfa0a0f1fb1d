"""What can be asked of a running daemon: operations, the paths they have, and what each takes within which bounds.

Knows names, types and lengths of parameters, and how the text of a query or the JSON of a body becomes them. Knows nothing
of sockets, of who may ask, nor of what an operation does: `control` has them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from ..errors import ControlError
from ..report import Forecast, OverrideReport, PoolReport, Served, Status

API = "/api/v1"
YEAR = 366 * 86400  # seconds
DRAIN, FORCES = "drain", ("up", "down")  # the two axes of overrides
Given = Mapping[str, Any]


class Operations(Protocol):
    """What the daemon can do. What an operator got wrong raises ControlError(status, text).

    The annotations of whoever implements it are the schemas of the OpenAPI document; `object` here is what the data plane
    has no name for.
    """

    async def status(self) -> Status: ...
    async def pools(self, pattern: str | None) -> tuple[PoolReport, ...]: ...
    async def overrides(self) -> tuple[OverrideReport, ...]: ...
    async def explain(self, name: str, rtype: str, client: str | None, peer: str | None, draw: int | None) -> object: ...
    async def locate(self, address: str) -> object: ...
    async def diff(self) -> Served: ...
    async def override(
        self, target: str, kind: str, duration: float | None, reason: str, owner: str, dry_run: bool
    ) -> Forecast: ...
    async def end(self, target: str, kinds: tuple[str, ...], owner: str) -> Forecast: ...
    async def reload(self, dry_run: bool, max_move: float | None) -> object: ...
    def ready(self) -> bool: ...
    async def scrape(self) -> tuple[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a route takes. `kind` is str, bool, int or float; numbers lie in `least`..`most`."""

    name: str
    kind: type
    meaning: str
    required: bool = False
    longest: int = 255  # characters of a text
    least: float = 0
    most: float = 0
    above: bool = False  # the number is more than `least`
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation over HTTP. A GET takes its parameters from the query, a POST from a JSON object."""

    method: str
    path: str
    operation: str  # the method of `Operations` whose result is the reply
    summary: str
    parameters: tuple[Parameter, ...]
    call: Callable[[Operations, Given], Awaitable[object]]


def _end(operations: Operations, given: Given, kinds: tuple[str, ...]) -> Awaitable[object]:
    return operations.end(given["target"], kinds, given["owner"])


def _override(operations: Operations, given: Given, kind: str) -> Awaitable[object]:
    return operations.override(
        given["target"], kind, given["duration"], given["reason"] or "", given["owner"], bool(given["dry_run"])
    )


def _force(operations: Operations, given: Given) -> Awaitable[object]:
    if given["kind"] in FORCES:
        return _override(operations, given, given["kind"])
    if given["duration"] is not None or given["dry_run"]:
        raise ControlError(400, '"kind": "clear" goes with neither "duration" nor "dry_run"')
    return _end(operations, given, FORCES)


TARGET = Parameter("target", str, "DC, SERVICE/DC, SERVICE/* or [SERVICE/DC/]ADDRESS; globs allowed", required=True)
OWNER = Parameter("owner", str, "who does it, as the log and the status shall name them", longest=100)
DRY_RUN = Parameter("dry_run", bool, "only tell what would happen")
OVERRIDE = (
    TARGET,
    Parameter("duration", float, "seconds until it ends by itself; left out, it lasts", above=True, most=YEAR),
    Parameter("reason", str, "why, for whoever finds it", longest=200),
    OWNER,
    DRY_RUN,
)
QUESTION = (
    Parameter("name", str, "the name asked; need not end in a dot", required=True, longest=1024),
    Parameter("type", str, "A, AAAA, MX ...; A if left out", longest=16),
    Parameter("client", str, "the client subnet: ADDRESS or ADDRESS/BITS", longest=64),
    Parameter("peer", str, "the address that asks; the client's if left out", longest=64),
    Parameter("draw", int, "the 64 bits of chance, decimal or 0x...; drawn if left out", most=2**64 - 1),
)

ROUTES = (
    Route("GET", f"{API}/status", "status", "All that the daemon tells of itself.", (), lambda o, g: o.status()),
    Route(
        "GET",
        f"{API}/pools",
        "pools",
        "Pools with their members, checks and overrides.",
        (Parameter("pattern", str, "only those it matches, as a target of an override"),),
        lambda o, g: o.pools(g["pattern"]),
    ),
    Route("GET", f"{API}/overrides", "overrides", "What operators forced.", (), lambda o, g: o.overrides()),
    Route(
        "GET",
        f"{API}/explain",
        "explain",
        "Why a client gets the answer that it gets, step by step. One of client and peer is needed.",
        QUESTION,
        lambda o, g: o.explain(g["name"], g["type"] or "A", g["client"], g["peer"], g["draw"]),
    ),
    Route(
        "GET",
        f"{API}/locate",
        "locate",
        "Where an address is, who says so, and what every map makes of it.",
        (Parameter("address", str, "IPv4 or IPv6", required=True, longest=64),),
        lambda o, g: o.locate(g["address"]),
    ),
    Route("GET", f"{API}/diff", "diff", "What is served, for a comparison with it.", (), lambda o, g: o.diff()),
    Route("POST", f"{API}/drain", "override", "Take members out, gently.", OVERRIDE, lambda o, g: _override(o, g, DRAIN)),
    Route("POST", f"{API}/undrain", "end", "End a drain.", (TARGET, OWNER), lambda o, g: _end(o, g, (DRAIN,))),
    Route(
        "POST",
        f"{API}/force",
        "override",
        "Have members count as up or down whatever their checks say, or no longer.",
        (*OVERRIDE, Parameter("kind", str, "what they count as", required=True, choices=(*FORCES, "clear"))),
        _force,
    ),
    Route(
        "POST",
        f"{API}/reload",
        "reload",
        "Read the configuration again. A refused one changes nothing, and the reply says why.",
        (DRY_RUN, Parameter("max_move", float, "refuse when a service moves a larger share of the address space", most=1)),
        lambda o, g: o.reload(bool(g["dry_run"]), g["max_move"]),
    ),
)


def read_query(route: Route, items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What the query of a GET gives, with None for what it leaves out. Raises ControlError 400."""
    kinds = {parameter.name: parameter.kind for parameter in route.parameters}
    given: dict[str, Any] = {}
    for name, text in items:
        if name in given:
            _refuse(f'parameter "{_show(name)}" is given twice')
        given[name] = _parse(name, text, kinds.get(name, str))
    return check_parameters(route, given)


def read_body(route: Route, octets: bytes) -> dict[str, Any]:
    """What the body of a POST gives, with None for what it leaves out. Raises ControlError 400."""
    try:
        given = json.loads(octets or b"{}", object_pairs_hook=_read_object)
    except (ValueError, RecursionError) as error:
        raise ControlError(400, "the body must be JSON with each key once") from error
    if not isinstance(given, dict):
        _refuse("the body must be a JSON object")
    return check_parameters(route, given)


def check_parameters(route: Route, given: Given) -> dict[str, Any]:
    """*given* with None for what is left out; every value has the type and keeps to the bounds of its parameter."""
    known = [parameter.name for parameter in route.parameters]
    if unknown := next((name for name in given if name not in known), None):
        _refuse(f'unknown parameter "{_show(unknown)}"; {route.path} takes {", ".join(known) or "none"}')
    return {parameter.name: _check(parameter, given.get(parameter.name)) for parameter in route.parameters}


def _check(parameter: Parameter, value: Any) -> Any:
    name = parameter.name
    if value is None:
        if parameter.required:
            _refuse(f'"{name}" is missing: {parameter.meaning}')
        return None
    if parameter.kind is str:
        return _check_text(parameter, value)
    if parameter.kind is bool:
        return value if isinstance(value, bool) else _refuse(f'"{name}" must be true or false')
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (parameter.kind is int and value != int(value)):
        _refuse(f'"{name}" must be a number')
    if not parameter.least <= value <= parameter.most or (parameter.above and value <= parameter.least):
        _refuse(f'"{name}" must be {"above " if parameter.above else ""}{parameter.least}..{parameter.most}')
    return parameter.kind(value)


def _check_text(parameter: Parameter, value: Any) -> str:
    """A text that can stand in a log line and in a terminal as it is."""
    name = parameter.name
    if not isinstance(value, str):
        _refuse(f'"{name}" must be a text')
    if parameter.choices and value not in parameter.choices:
        _refuse(f'"{name}" must be one of {", ".join(parameter.choices)}')
    if not 0 < len(value) <= parameter.longest:
        _refuse(f'"{name}" must have 1..{parameter.longest} characters, got {len(value)}')
    if not value.isprintable():
        _refuse(f'"{name}" must hold printable characters alone')
    return value


def _parse(name: str, text: str, kind: type) -> Any:
    """The value that *text* of a query stands for."""
    if kind is bool:
        return {"true": True, "false": False}.get(text, text)
    try:
        if kind is int and len(text) <= 66:  # 64 bits in binary
            return int(text, 0)
        return float(text) if kind is float else text
    except ValueError:
        _refuse(f'"{name}" must be a number')


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or any(isinstance(value, float) and not math.isfinite(value) for value in found.values()):
        raise ValueError
    return found


def _show(name: str) -> str:
    """*name*, which a stranger chose, short and printable."""
    return name.encode("unicode_escape").decode()[:40]


def _refuse(text: str) -> NoReturn:
    raise ControlError(400, text)
