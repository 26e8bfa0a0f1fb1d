"""The cut: which subtrees of the source become one leaf, since calling all of them by one name costs less than their nodes.

Knows weights and losses. Knows nothing of countries, or of how a tree is written.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from .places import Losses
from .source import LEAF, UNREACHED, Tree

MIXED = -1
KEPT = -1

Mix = dict[int, float]


def merge_mixes(one: Mix, two: Mix) -> tuple[Mix, Mix]:
    """Add the smaller mix to the larger one, which is changed; give the larger, and the smaller as it was."""
    large, small = (one, two) if len(one) >= len(two) else (two, one)
    for label, weight in small.items():
        large[label] = large.get(label, 0.0) + weight
    return large, small


def measure_cost(mix: Mix, row: Sequence[float], limit: float) -> float:
    """What calling all of *mix* by the row's label costs; anything above *limit* once it is clear that it is more."""
    cost = 0.0
    for label, weight in mix.items():
        cost += weight * row[label]
        if cost > limit:
            break
    return cost


class Cut:
    """The state of one bottom-up pass; `label` is its result.

    Per node: `place` is the one label of all that is below, or MIXED, then `mixes` has label to weight and `heaviest` the
    label with most; `cost` is the least that this subtree costs, nodes and losses. A parent takes over its children's mixes.
    """

    def __init__(self, tree: Tree, depths: bytearray, labels: Sequence[int], by_length: Sequence[float]) -> None:
        size = len(tree.left)
        self.tree, self.depths, self.labels, self.by_length = tree, depths, labels, by_length
        self.place = array("i", [MIXED]) * size
        self.heaviest = array("i", [0]) * size
        self.weight = array("d", [0.0]) * size
        self.cost = array("d", [0.0]) * size
        self.mixes: dict[int, Mix] = {}
        self.label = array("i", [KEPT]) * size  # of a node that becomes a leaf; KEPT: it stays a node

    def run(self, losses: Losses, price: float) -> array[int]:
        """The label of each node, KEPT where its two halves are worth *price* and their own cost."""
        place, weight, label, labels, depths = self.place, self.weight, self.label, self.labels, self.depths
        for node in range(len(label) - 1, -1, -1):
            depth = depths[node]
            if depth == UNREACHED:
                continue
            left, right = self.tree.left[node], self.tree.right[node]
            width = self.by_length[depth + 1]
            one, one_weight = (place[left], weight[left]) if left < LEAF else (labels[left - LEAF], width)
            two, two_weight = (place[right], weight[right]) if right < LEAF else (labels[right - LEAF], width)
            if one == two != MIXED:
                place[node] = label[node] = one
                weight[node] = one_weight + two_weight
                continue
            mix, heaviest = self.merge(left, right, (one, one_weight), (two, two_weight))
            kept = price
            if left < LEAF:
                kept += self.cost[left]
            if right < LEAF:
                kept += self.cost[right]
            called = measure_cost(mix, losses.find_row(heaviest), kept)
            if called <= kept:
                label[node] = heaviest
                kept = called
            self.cost[node] = kept
            self.heaviest[node] = heaviest
            self.mixes[node] = mix
        return label

    def merge(self, left: int, right: int, one: tuple[int, float], two: tuple[int, float]) -> tuple[Mix, int]:
        """The mix of a node from its children, each a number and (place, weight); and the heaviest label in it."""
        mine = self.mixes.pop(left) if one[0] == MIXED else {one[0]: one[1]}
        other = self.mixes.pop(right) if two[0] == MIXED else {two[0]: two[1]}
        large, small = merge_mixes(mine, other)
        candidates = list(small)
        child, (place, _) = (left, one) if large is mine else (right, two)
        candidates.append(self.heaviest[child] if place == MIXED else place)
        return large, max(candidates, key=lambda label: (large[label], -label))
