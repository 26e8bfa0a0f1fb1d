"""Where each part of the configuration was written, and how complaints name it.

Knows the tree of what was written and the few steps that differ between it and `Config`. Knows nothing of meaning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ..errors import Complaint, Place, Severity
from .scalars import did_you_mean
from .tree import Entries, Items, Scalar, Written, is_null

Step = object  # a key (a name, a network ...) or the number of a list's item
# Fields of the model that no file has: record types stand in the owner, values alone or in a list.
_UNWRITTEN = ("rrsets", "values")


@dataclass(frozen=True, slots=True)
class Places:
    """Positions by path. A path is a tuple of keys and list indices, as in `Config`.

    `moved` has parts that stand elsewhere in `Config` than in the file: checks that were written in a service.
    """

    root: Entries
    moved: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def find(self, path: Iterable[Step]) -> Place:
        """Where *path* was written: a scalar's own position, else its key's; else that of the nearest written ancestor."""
        place, node, _ = walk(self.root, path)
        return node.place if isinstance(node, Scalar) and not is_null(node) else place

    def find_key(self, path: Iterable[Step]) -> Place:
        """Where the key (or list item) of *path* was written, or its nearest written ancestor."""
        return walk(self.root, path)[0]

    def text(self, path: Iterable[Step]) -> str:
        """*path* as complaints write it: ``services.www.pools.nyc[1].weight``; only what was written counts."""
        steps = walk(self.root, path)[2]
        prefix = self.moved.get(tuple(steps[:2])) if len(steps) > 1 else None  # type: ignore[arg-type]  # only names are looked up
        return write_path((*prefix, *steps[2:]) if prefix else steps)

    def names(self, *path: str) -> Collection[str]:
        """The keys that were written in the mapping at *path*, with those of parts that are wrong."""
        _, node, steps = walk(self.root, path)
        return node.keys() if isinstance(node, Entries) and len(steps) == len(path) else ()

    def error(self, path: Iterable[Step], text: str) -> Complaint:
        """An error about what stands at *path*."""
        path = tuple(path)
        return Complaint(Severity.ERROR, self.find(path), self.text(path), text)

    def key_error(self, path: Iterable[Step], text: str) -> Complaint:
        """An error about the last key of *path* itself: it stands at the key, under the path of what holds it."""
        path = tuple(path)
        return Complaint(Severity.ERROR, self.find_key(path), self.text(path[:-1]), text)

    def warning(self, path: Iterable[Step], text: str) -> Complaint:
        """A warning about what stands at *path*."""
        path = tuple(path)
        return Complaint(Severity.WARNING, self.find(path), self.text(path), text)


def tell_undefined(kind: str, name: str, places: Places) -> str:
    """``datacenter "fra" is not defined (defined: ams, nyc)``, with a suggestion where one is near."""
    known = [one for one in places.names(f"{kind}s") if (f"{kind}s", one) not in places.moved]
    if kind == "map" and "world" not in known:
        known.append("world")
    shown = ", ".join([*known[:12], "..."] if len(known) > 12 else known) or "none"
    return f'{kind} "{name}" is not defined{did_you_mean(name, known)} (defined: {shown})'


def walk(root: Entries, path: Iterable[Step]) -> tuple[Place, Written, tuple[Step, ...]]:
    """Follow *path* as far as it was written: place of the last key or item, its value, and the written steps."""
    node: Written = root
    place = root.place
    steps: list[Step] = []
    for step in path:
        key = _find_key(node, step)
        if isinstance(node, Entries) and key is not None:
            place, node = node.keys_at[key], node[key]
            steps.append(key)
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node):
            node = node[step]
            place = node.place
            steps.append(step)
        elif step not in _UNWRITTEN and not (isinstance(step, int) and not isinstance(node, Items)):
            break  # (an index into what is no list: one value stands for a list of one)
    return place, node, tuple(steps)


def _find_key(node: Written, step: Step) -> str | None:
    """The key of *node* for *step*; record types are upper case in `Config` and in any case in the file."""
    if not isinstance(node, Entries) or isinstance(step, int):
        return None
    text = str(step)
    if text in node:
        return text
    return next((key for key in node if key.upper() == text), None) if text.isupper() else None


def write_path(steps: Iterable[Step]) -> str:
    """Steps joined by dots, indices in brackets, zones without their final dot."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text = f"{text}.{str(step).removesuffix('.') or step}".removeprefix(".") if text else str(step)
    return text


def prune(root: Entries, paths: Collection[tuple[Step, ...]]) -> Entries:
    """*root* without the keys at *paths* (as `walk` gave them). Lists keep their items, so that indices stay true."""
    here = {str(path[0]) for path in paths if len(path) == 1}
    kept = Entries({key: value for key, value in root.items() if key not in here})
    kept.file, kept.line, kept.column, kept.keys_at = root.file, root.line, root.column, root.keys_at
    for key in {str(path[0]) for path in paths} - here:
        kept[key] = _prune_value(kept[key], [path[1:] for path in paths if str(path[0]) == key])
    return kept


def _prune_value(value: Written, paths: list[tuple[Step, ...]]) -> Written:
    if isinstance(value, Entries):
        return prune(value, paths)
    if isinstance(value, Items):
        items = Items(value)
        items.file, items.line, items.column = value.file, value.line, value.column
        for index in {path[0] for path in paths}:
            assert isinstance(index, int)
            items[index] = _prune_value(items[index], [path[1:] for path in paths if path[0] == index])
        return items
    return value
