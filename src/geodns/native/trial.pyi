from array import array

from .answer import Rules
from .tables import Root

SOURCE_DIGEST: str

def attempt(
    root: Root, rules: Rules, query: bytes, peer: bytes, draw: int, room: int, tally: array[int]
) -> tuple[int, bytes | None]: ...
def attempt_together(
    root: Root, rules: Rules, queries: list[bytes], peers: list[bytes], draws: list[int], room: int, tally: array[int]
) -> list[tuple[int, bytes | None]]: ...
def time_packets(root: Root, rules: Rules, queries: list[bytes], peers: list[bytes], rounds: int) -> tuple[int, int]: ...
