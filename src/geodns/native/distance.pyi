from collections.abc import Sequence

SOURCE_DIGEST: str

class Sites:
    numbers: tuple[int, ...]
    def __init__(
        self, points: Sequence[tuple[float, float, float]], factors: Sequence[float], numbers: Sequence[int]
    ) -> None: ...
    def rank(self, latitude: float, longitude: float) -> tuple[int, ...]: ...
