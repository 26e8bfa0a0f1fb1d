from ..answer import Settings, Turn
from .tables import Root

SOURCE_DIGEST: str

class Rules:
    def __init__(self, settings: Settings, transport: int) -> None: ...

class Shadow:
    def __init__(self, root: Root, rules: Rules) -> None: ...
    def answer(self, turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None: ...
