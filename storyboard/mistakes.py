"""Author mistakes, each with its place in the file: line, column, the line itself and a caret."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the story to a value: ("scene", 2, "prompt")."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to change. `line` and `column` count from 1 in characters; 0 where there is no text (a dict)."""

    message: str
    file: str
    line: int = 0
    column: int = 0
    scene: str | None = None
    source: str = ""
    width: int = 1

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        who = f'scene "{self.scene}": ' if self.scene else ""
        head = f"{at}: {who}{self.message}"
        if not self.line:
            return head
        indent = "".join(c if c == "\t" else " " * _columns(c) for c in self.source[: self.column - 1])
        carets = "^" * max(1, sum(_columns(c) for c in self.source[self.column - 1 :][: self.width]))
        return f"{head}\n{self.line:>5} | {self.source}\n      | {indent}{carets}"


class StoryError(Exception):
    """The story is at fault: every mistake found, in the file's order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, m.message)))
        super().__init__("\n".join(map(str, self.mistakes)))


def _columns(character: str) -> int:
    """Terminal cells a character takes: east Asian wide ones take two."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' (did you mean "prompt"?)', or nothing where no known word is near."""
    near = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


class Places:
    """Where each key of a TOML text stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._spans: dict[Place, tuple[int, int, int]] | None = None

    def find(self, place: Place) -> tuple[int, int, int, str]:
        """Line, column (from 1), width and source line of a value, or of the nearest thing around it."""
        if self._spans is None:
            self._spans = _spans(self._text)
        for length in range(len(place), 0, -1):
            if place[:length] in self._spans:
                line, column, width = self._spans[place[:length]]
                return line, column, width, self._line(line)
        return 1, 1, 1, self._line(1)

    def at(self, line: int, column: int) -> tuple[int, int, int, str]:
        line = min(max(1, line), len(self._lines))
        return line, max(1, column), 1, self._line(line)

    def _line(self, line: int) -> str:
        return self._lines[line - 1].rstrip("\r")


def _spans(text: str) -> dict[Place, tuple[int, int, int]]:
    """Line, column and width of every key and array item, by place."""
    import tree_sitter
    import tree_sitter_toml

    source = text.encode()
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language())).parse(source)
    spans: dict[Place, tuple[int, int, int]] = {}
    counts: dict[Place, int] = {}
    for node in tree.root_node.children:
        if node.type == "pair":
            _pair(node, (), spans, source)
        elif node.type in ("table", "table_array_element"):
            _table(node, spans, counts, source)
    return spans


def _table(node: Node, spans: dict[Place, tuple[int, int, int]], counts: dict[Place, int], source: bytes) -> None:
    head = next(c for c in node.children if c.type.endswith("key"))
    place: Place = ()
    for part in _key(head):
        place = (*place, part)
        if place in counts and node.type == "table":
            place = (*place, counts[place] - 1)  # [scene.x] speaks of the last [[scene]]
    if node.type == "table_array_element":
        counts[place] = counts.get(place, 0) + 1
        spans.setdefault(place, _span(head, source))
        place = (*place, counts[place] - 1)
    spans.setdefault(place, _span(head, source))
    for child in node.children:
        if child.type == "pair":
            _pair(child, place, spans, source)


def _pair(node: Node, around: Place, spans: dict[Place, tuple[int, int, int]], source: bytes) -> None:
    key, value = node.children[0], node.children[-1]
    place = around
    for part in _key(key):
        place = (*place, part)
        spans.setdefault(place, _span(key, source))
    _value(value, place, spans, source)


def _value(node: Node, place: Place, spans: dict[Place, tuple[int, int, int]], source: bytes) -> None:
    if node.type == "inline_table":
        for child in node.children:
            if child.type == "pair":
                _pair(child, place, spans, source)
    elif node.type == "array":
        items = [c for c in node.children if c.is_named and c.type != "comment"]
        for index, item in enumerate(items):
            spans[*place, index] = _span(item, source)
            _value(item, (*place, index), spans, source)


def _key(node: Node) -> tuple[str, ...]:
    if node.type == "dotted_key":
        return tuple(part for child in node.children if child.is_named for part in _key(child))
    text = (node.text or b"").decode()
    return (text[1:-1] if node.type == "quoted_key" else text,)


def _span(node: Node, source: bytes) -> tuple[int, int, int]:
    """Line, column and width in characters; tree-sitter counts bytes."""
    start, end = node.start_point, node.end_point
    line_start = node.start_byte - start.column
    column = len(source[line_start : node.start_byte].decode())
    stop = node.end_byte if end.row == start.row else source.find(b"\n", node.start_byte)
    return start.row + 1, column + 1, len(source[node.start_byte : stop].decode())
