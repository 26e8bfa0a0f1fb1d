from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol

SOURCE_DIGEST: str

class Wanted(Protocol):
    @property
    def fields(self) -> Mapping[bytes, tuple[str, Wanted]]: ...
    @property
    def first(self) -> Wanted | None: ...

class Sites:
    numbers: tuple[int, ...]
    def __init__(
        self, points: Sequence[tuple[float, float, float]], factors: Sequence[float], numbers: Sequence[int]
    ) -> None: ...
    def rank(self, latitude: float, longitude: float) -> tuple[int, ...]: ...

class Groups:
    members: array[int]
    first: array[int]
    keys: array[int]
    latitudes: array[float]
    longitudes: array[float]

def group_records(
    octets: bytes, offsets: array[int], wanted: Wanted, sites: Sites | None, patience: int
) -> Groups | None: ...
