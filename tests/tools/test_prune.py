"""The cut: its cost is what it says, and nothing cheaper of its kind exists."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from tools.lite_geoip.globe import to_vector
from tools.lite_geoip.places import FIRST_PLACE, Losses, Place
from tools.lite_geoip.prune import KEPT, Cut
from tools.lite_geoip.source import FORCED, GRAFT, LEAF, UNKNOWN, Tree, measure_depths
from tools.lite_geoip.write import find_kept

PLACES = [
    Place("NO", "NO-03", "Oslo", to_vector(59.9, 10.7), 1),
    Place("JP", "JP-13", "Tokyo", to_vector(35.7, 139.7), 1),
    Place("US", "US-CA", "California", to_vector(36.7, -119.8), 1),
    Place("US", "US-CA", "California", to_vector(37.6, -121.0), 1),
]
LABELS = [UNKNOWN, FORCED, GRAFT, *range(FIRST_PLACE, FIRST_PLACE + len(PLACES))]
BY_LENGTH = [1 + 2.0 ** (3 - length) for length in range(12)]

Shape = int | tuple["Shape", "Shape"]
shapes = st.recursive(
    st.sampled_from([UNKNOWN, *range(FIRST_PLACE, FIRST_PLACE + len(PLACES))]),
    lambda part: st.tuples(part, part),
    max_leaves=40,
)


def lay_out(shape: Shape) -> Tree:
    """A tree of nodes, parents first, from nested pairs of leaf numbers; a lone leaf becomes a node of two."""
    tree = Tree(32, array("I"), array("I"))
    waiting: list[tuple[array[int] | None, int, Shape]] = [(None, 0, shape if isinstance(shape, tuple) else (shape, shape))]
    for half, node, part in waiting:
        value = LEAF + part if isinstance(part, int) else len(tree.left)
        if half is not None:
            half[node] = value
        if isinstance(part, tuple):
            tree.left.append(0)
            tree.right.append(0)
            waiting += ((tree.left, value, part[0]), (tree.right, value, part[1]))
    return tree


def collect(tree: Tree, depths: bytearray, node: int) -> dict[int, float]:
    """Weights by label of everything below *node*."""
    mix: dict[int, float] = {}
    for child in (tree.left[node], tree.right[node]):
        below = {child - LEAF: BY_LENGTH[depths[node] + 1]} if child >= LEAF else collect(tree, depths, child)
        for label, weight in below.items():
            mix[label] = mix.get(label, 0.0) + weight
    return mix


def price_of(mix: dict[int, float], label: int) -> float:
    row = Losses(PLACES).find_row(label)
    return sum(weight * row[true] for true, weight in mix.items())


def least(tree: Tree, depths: bytearray, node: int, price: float) -> float:
    """The cheapest cut, by trying both ways at every node."""
    mix = collect(tree, depths, node)
    heaviest = max(mix, key=lambda label: (mix[label], -label))
    halves = (least(tree, depths, child, price) for child in (tree.left[node], tree.right[node]) if child < LEAF)
    return min(price_of(mix, heaviest), price + sum(halves))


@settings(deadline=None, max_examples=150)
@given(shapes, st.sampled_from([0.0, 0.1, 0.4, 1.0, 5.0]))
def test_always_the_cheapest_cut_and_its_true_cost(shape: Shape, price: float) -> None:
    tree = lay_out(shape)
    depths = measure_depths(tree)
    if max(depths) + 1 >= len(BY_LENGTH):
        return
    state = Cut(tree, depths, LABELS, BY_LENGTH)
    cut = state.run(Losses(PLACES), price)
    assert abs(state.cost[0] - least(tree, depths, 0, price)) < 1e-9
    kept = find_kept(tree, cut)
    spent = price * len(kept)
    if not kept:
        spent = price_of(collect(tree, depths, 0), cut[0])
    for node in kept:
        for child in (tree.left[node], tree.right[node]):
            if child < LEAF and cut[child] != KEPT:
                spent += price_of(collect(tree, depths, child), cut[child])
    assert abs(state.cost[0] - spent) < 1e-9


@settings(deadline=None, max_examples=100)
@given(shapes)
def test_never_is_a_forced_gap_named_or_the_graft_lost(shape: Shape) -> None:
    tree = lay_out(((shape, FORCED), (GRAFT, shape)))
    depths = measure_depths(tree)
    if max(depths) + 1 >= len(BY_LENGTH):
        return
    cut = Cut(tree, depths, LABELS, BY_LENGTH).run(Losses(PLACES), 1000.0)
    left, right = tree.left[0], tree.right[0]
    assert cut[0] == KEPT
    assert cut[right] == KEPT  # the graft stands beside something else
    assert cut[left] in {KEPT, UNKNOWN, FORCED}


def test_losses_grow_with_distance_and_with_wrong_words() -> None:
    losses = Losses(PLACES)
    oslo, tokyo, fresno, modesto = range(FIRST_PLACE, FIRST_PLACE + 4)
    for label in (oslo, tokyo, fresno, modesto):
        assert losses.find_row(label)[label] == 0.0
    near, far = losses.find_row(fresno)[modesto], losses.find_row(fresno)[tokyo]
    assert 0 < near < 0.2 < far < 1.25
    assert losses.find_row(UNKNOWN)[oslo] == 1.0
    assert losses.find_row(oslo)[UNKNOWN] == 1.5
    assert losses.find_row(tokyo)[fresno] == losses.find_row(fresno)[tokyo]
