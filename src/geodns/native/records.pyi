from array import array
from collections.abc import Mapping
from typing import Protocol

from .distance import Sites

SOURCE_DIGEST: str

class Wanted(Protocol):
    @property
    def fields(self) -> Mapping[bytes, tuple[str, Wanted]]: ...
    @property
    def first(self) -> Wanted | None: ...

class Groups:
    members: array[int]
    first: array[int]
    keys: array[int]
    latitudes: array[float]
    longitudes: array[float]

def group_records(
    octets: bytes, offsets: array[int], wanted: Wanted, sites: Sites | None, patience: int
) -> Groups | None: ...
