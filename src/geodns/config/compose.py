"""YAML text to a tree with positions.

Knows YAML: events, anchors, merge keys, duplicate keys, and the traps of its syntax in words of our own. Knows
nothing of which keys there are. Built on the parser's events, not on its loader: the depth is bounded, an alias
costs nothing until it is counted, and no scalar gets a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from ..errors import Complaint, Place, Severity
from .tree import Entries, Items, Scalar, Written, make_entries, make_items, make_scalar

DEEPEST = 40  # levels of nesting; ours needs nine
MOST_REPEATED = 1_000_000  # values that aliases may repeat in all ("billion laughs")

_PARSER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SyntaxProblem(Exception):
    """The text cannot be read on from here."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.complaint = Complaint(Severity.ERROR, place, "", text)


def compose(text: str, file: str, only: str | None = None) -> tuple[Entries | None, list[Complaint]]:
    """The mapping that *text* holds, or None, and what is wrong with it.

    With *only*, reading ends behind that key of the top mapping: what follows is neither read nor checked.
    """
    composer = _Composer(text, file, only)
    try:
        return composer.compose(), composer.complaints
    except SyntaxProblem as problem:
        return None, [*composer.complaints, problem.complaint]


class _Composer:
    """The state of one reading: anchors, sizes, complaints."""

    def __init__(self, text: str, file: str, only: str | None) -> None:
        self.text = text
        self.file = file
        self.only = only
        self.complaints: list[Complaint] = []
        self.anchors: dict[str, tuple[Written, int]] = {}  # with the number of values inside
        self.open_anchors: set[str] = set()
        self.repeated = 0
        self.events: Iterator[yaml.Event] = self._read_events()

    def compose(self) -> Entries | None:
        root: Written | None = None
        for event in self.events:
            if isinstance(event, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._complain(self._place(event), "a second document begins here; a file holds one")
                    break
                continue
            root, _ = self._value(event, 0)
            if self.only is not None and isinstance(root, Entries) and self.only in root:
                break  # what follows was not read
        if root is None or (isinstance(root, Scalar) and not root):
            return make_entries(Place(self.file, 1, 1))
        if not isinstance(root, Entries):
            self._complain(root.place, 'a configuration is a mapping of keys ("zones: ...")')
            return None
        return root

    def _read_events(self) -> Iterator[yaml.Event]:
        """The parser's events; whatever it raises becomes a `SyntaxProblem`."""
        bad = _FORBIDDEN.search(self.text)
        if bad:
            place = place_at(self.text, bad.start(), self.file)
            raise SyntaxProblem(place, f"the control character U+{ord(bad.group()):04X} is not allowed")
        try:
            yield from yaml.parse(self.text, Loader=_PARSER)
        except yaml.MarkedYAMLError as error:
            raise describe_syntax(self.text, self.file, error) from None
        except yaml.YAMLError as error:
            raise SyntaxProblem(Place(self.file), f"not YAML: {' '.join(str(error).split())}") from None

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)

    def _complain(self, place: Place, text: str) -> None:
        self.complaints.append(Complaint(Severity.ERROR, place, "", text))

    def _value(self, event: yaml.Event, depth: int) -> tuple[Written, int]:
        """The value that begins with *event*, and how many values it holds, itself and aliases counted."""
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", place)
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))  # the parser's grammar
        if event.tag not in _PLAIN_TAGS:
            self._complain(place, f'the tag "{event.tag}" is not known here; values need no tags')
        value, size = self._content(event, place, depth)
        if event.anchor:
            self.open_anchors.discard(event.anchor)
            self.anchors[event.anchor] = (value, size)
        return value, size

    def _content(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place, depth: int) -> tuple[Written, int]:
        if isinstance(event, yaml.ScalarEvent):
            return make_scalar(event.value, place, not event.style), 1
        if depth >= DEEPEST:
            raise SyntaxProblem(place, f"nested more than {DEEPEST} levels deep")
        if event.anchor:
            self.open_anchors.add(event.anchor)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(place, depth + 1)
        return self._entries(place, depth + 1)

    def _alias(self, anchor: str, place: Place) -> tuple[Written, int]:
        if anchor in self.open_anchors:
            raise SyntaxProblem(place, f'the alias "*{anchor}" stands inside its own anchor')
        if anchor not in self.anchors:
            self._complain(place, f'the alias "*{anchor}" has no anchor "&{anchor}" before it; quote it if it is a name')
            return make_scalar(f"*{anchor}", place), 1
        value, size = self.anchors[anchor]
        self.repeated += size
        if self.repeated > MOST_REPEATED:
            raise SyntaxProblem(place, f"aliases repeat more than {MOST_REPEATED:,} values")
        return value, size

    def _items(self, place: Place, depth: int) -> tuple[Items, int]:
        items, size = make_items(place), 1
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value, more = self._value(event, depth)
            items.append(self._unsplit_address(value))
            size += more
        return items, size

    def _unsplit_address(self, value: Written) -> Written:
        """An item ``2001:db8::`` reads as a mapping whose key is ``2001:db8:``; say so, and go on with the address."""
        if isinstance(value, Entries) and len(value) == 1:
            (key, inner), *_ = value.items()
            if key.endswith(":") and inner == "":
                self._complain(value.place, f'"{key}:" must be quoted: a colon at the end of a word makes it a key')
                return make_scalar(f"{key}:", value.place)
        return value

    def _entries(self, place: Place, depth: int) -> tuple[Entries, int]:
        entries, size = make_entries(place), 1
        merged: list[Entries] = []
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            told = len(self.complaints)
            key, more = self._value(event, depth)
            is_wrong = len(self.complaints) > told
            value, more_value = self._value(next(self.events), depth)
            size += more + more_value
            key_place = self._place(event)
            if is_wrong:
                continue
            if not isinstance(key, Scalar):
                self._complain(key_place, "a key must be one word, not a list or a mapping")
            elif key == "<<" and key.plain:
                merged += self._merge_sources(value, key_place)
            elif key in entries:
                self._complain(key_place, f'"{key}" is written twice; the first is in line {entries.keys_at[key].line}')
            else:
                entries[key] = value
                entries.keys_at[key] = key_place
                if depth == 1 and key == self.only:
                    break
        for source in merged:
            for key_text, value in source.items():
                if key_text not in entries:
                    entries[key_text] = value
                    entries.keys_at[key_text] = source.keys_at[key_text]
        return entries, size

    def _merge_sources(self, value: Written, place: Place) -> list[Entries]:
        """What a merge key names: one mapping or a list of them, the first of which wins."""
        sources = list(value) if isinstance(value, Items) else [value]
        good = [source for source in sources if isinstance(source, Entries)]
        if len(good) != len(sources):
            self._complain(place, 'a merge key takes a mapping, or a list of mappings ("<<: *defaults")')
        return good


def place_at(text: str, index: int, file: str) -> Place:
    """Position of character *index* of *text*."""
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text[:index])  # YAML 1.1 5.4: "b-char"
    return Place(file, len(lines), len(lines[-1]) + 1)


_WORD = re.compile(r"[^\s,\[\]{}]*[^\s,\[\]{}:]")
_COLONS = re.compile(r"([\[{,:]\s*|[0-9A-Fa-f]:)$")  # what stands before the colon that the parser stumbles over


def describe_syntax(text: str, file: str, error: yaml.MarkedYAMLError) -> SyntaxProblem:
    """The parser's *error* in words for the person who wrote the file."""
    problem, context = error.problem or "cannot be read", error.context or ""
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    at = (mark.line, mark.column) if mark else (0, 0)
    if error.context_mark and (at[0] >= len(lines) or "end of stream" in problem or "simple key" in context):
        # The parser noticed at the end of the file; what was never closed stands where the context begins.
        at = (error.context_mark.line, error.context_mark.column)
    row = min(at[0], len(lines) - 1)
    line = lines[row]
    column = min(at[1], len(line)) if row == at[0] else len(line)
    return SyntaxProblem(Place(file, row + 1, column + 1), _syntax_words(line, column, problem, context))


def _syntax_words(line: str, column: int, problem: str, context: str) -> str:
    rest, before = line[column:], line[:column]
    if "\t" in (rest[:1], problem) or "tab character" in problem or "'\\t'" in problem:
        return "a tab stands where spaces belong; YAML is indented with spaces only"
    if "alias" in context:
        word = _WORD.match(line[max(column - 1, 0) :])
        return f'"{word.group() if word else "*"}" must be quoted: a bare asterisk begins an alias'
    if "anchor" in context:
        return "a bare ampersand begins an anchor; quote the value"
    if "cannot start any token" in problem and rest:
        word = _WORD.match(rest)
        return f'"{word.group() if word else rest[0]}" must be quoted: "{rest[0]}" has a meaning of its own in YAML'
    if _COLONS.search(before) and rest.startswith(":") and ("node content" in problem or "unexpected ':'" in problem):
        return 'an IPv6 address in brackets, or with "::" at its beginning or end, must be quoted'
    if "mapping values" in problem and re.match(r":+(\s|$)", rest):
        return 'a second ": " in one line; quote the value, or put the inner key on a line of its own'
    if "mapping values" in problem or "unexpected ':'" in problem:
        return "a colon where none belongs: a bracket, brace or quote before it may not be closed"
    if "end of stream" in problem or "expected ',' or" in problem:
        closer = {"[": "a bracket", "{": "a brace", '"': "a quote", "'": "a quote"}.get(rest[:1])
        return (
            f"{closer} is opened here and not closed"
            if closer
            else "a bracket, brace or quote is not closed, or a comma is missing"
        )
    if "simple key" in context:
        word = _WORD.match(rest)
        return f'"{word.group() if word else rest}" should be a key: it has no ": " behind it'
    if "block mapping" in context:
        return 'expected "key: value" here; look at the indentation, and for a missing ": "'
    return f"not YAML: {context + ': ' if context else ''}{problem}"
