from array import array
from collections.abc import Iterable

SOURCE_DIGEST: str
FINISHED: int
ENDLESS: int
TOO_DEEP: int

class Pointers:
    nodes: int
    count: int
    def offsets(self) -> array[int]: ...

class Leaves:
    def __init__(self, pointers: Pointers, members: array[int], numbers: array[int]) -> None: ...
    def __getitem__(self, record: int) -> int: ...

def read_tree(octets: bytes, nodes: int, size: int) -> tuple[array[int], array[int]]: ...
def parents_first(left: array[int], right: array[int], target: int) -> bool: ...
def find_pointers(left: array[int], right: array[int], length: int) -> Pointers | None: ...
def mark_nodes(left: array[int], right: array[int], leaves: Leaves) -> array[int]: ...
def walk(
    left: array[int],
    right: array[int],
    marks: array[int],
    leaves: Leaves,
    root: int,
    bits: int,
    pieces: Iterable[tuple[int, int]],
    most: int,
) -> tuple[int, array[int], array[int]]: ...
