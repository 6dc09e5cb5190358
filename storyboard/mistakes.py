"""Author mistakes, each with its place in the file: line, column, the line itself and a caret."""

from __future__ import annotations

import difflib
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the story to a value: ("scene", 2, "prompt")."""

SHOWN = 160  # characters of a longer line that are shown


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
        who = f"scene {written(self.scene)}: " if self.scene else ""
        head = _plain(f"{at}: {who}{self.message}")
        if not self.line:
            return head
        source, column = _window(self.source, self.column)
        indent = "".join(c if c == "\t" else " " * _columns(c) for c in source[: column - 1])
        carets = "^" * max(1, sum(_columns(c) for c in source[column - 1 :][: self.width]))
        return f"{head}\n{self.line:>5} | {_plain(source, tabs=True)}".rstrip() + f"\n      | {indent}{carets}"


class StoryError(Exception):
    """The story is at fault: every mistake found, in the file's order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, m.message)))
        super().__init__("\n".join(map(str, self.mistakes)))


def _plain(text: str, *, tabs: bool = False) -> str:
    """Text that cannot move a terminal's cursor: control characters as their pictures."""
    return "".join(c if c == "\t" and tabs else _visible(c) for c in text)


def _visible(character: str) -> str:
    if character < " ":
        return chr(0x2400 + ord(character))
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character


def _columns(character: str) -> int:
    """Terminal cells a character takes: east Asian wide ones take two, combining ones none."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _window(source: str, column: int) -> tuple[str, int]:
    """The part of a long line around a column, and the column in it."""
    if len(source) <= SHOWN:
        return source, column
    start = max(0, min(column - SHOWN // 4, len(source) - SHOWN))
    before, after = "…" if start else "", "…" if start + SHOWN < len(source) else ""
    return f"{before}{source[start : start + SHOWN]}{after}", column - start + len(before)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word most like this one, in any case; None where none is near."""
    folded = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """' (did you mean "prompt"?)', or nothing where no known word is near."""
    near = nearest(word, known, cutoff)
    return f' (did you mean "{near}"?)' if near is not None else ""


def written(value: object) -> str:
    """A value as its author would write it, its middle left out where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"{hex(value)[:20]}..."  # Python refuses to write more than 4300 decimal digits
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 100 else f"{text[:56]}...{text[-40:]}"  # the end of a path says most


class Places:
    """Where each key of a TOML text stands."""

    def __init__(self, text: str) -> None:
        self._source = text.encode()
        self._lines = text.split("\n")
        self._nodes: dict[Place, Written] | None = None

    def find(self, place: Place) -> tuple[int, int, int, str]:
        """Line, column (from 1), width and source line of a value, or of the nearest thing around it."""
        for length in range(len(place), 0, -1):
            written = self.written(place[:length])
            if written is not None:
                line, column, width = _span(written.key, self._source)
                return line, column, width, self._line(line)
        return 1, 1, 1, self._line(1)

    def written(self, place: Place) -> Written | None:
        if self._nodes is None:
            self._nodes = {}
            for found, written in _walk(self._source):
                self._nodes.setdefault(found, written)
        return self._nodes.get(place)

    def at(self, line: int, column: int) -> tuple[int, int, int, str]:
        line = min(max(1, line), len(self._lines))
        return line, max(1, column), 1, self._line(line)

    def end(self) -> tuple[int, int, int, str]:
        """The last line that says anything, past its end."""
        line = max((number for number, text in enumerate(self._lines, 1) if text.strip()), default=1)
        source = self._line(line).rstrip()
        return line, len(source) + 1, 1, source

    def _line(self, line: int) -> str:
        return self._lines[line - 1].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Written:
    """A key in the text and its value; the value alone where it is an item of a list, the key alone of a heading."""

    key: Node
    value: Node | None = None


def _walk(source: bytes) -> Iterator[tuple[Place, Written]]:
    """Every key and array item, by place."""
    import tree_sitter
    import tree_sitter_toml

    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language())).parse(source)
    counts: dict[Place, int] = {}
    for node in tree.root_node.children:
        if node.type == "pair":
            yield from _pair(node, ())
        elif node.type in ("table", "table_array_element"):
            yield from _table(node, counts)


def _table(node: Node, counts: dict[Place, int]) -> Iterator[tuple[Place, Written]]:
    head = next((child for child in node.children if child.type.endswith("key")), None)
    if head is None:
        return
    place: Place = ()
    for part in _key(head):
        if place in counts:
            place = (*place, counts[place] - 1)  # [scene.x] and [[scene.x]] speak of the last [[scene]]
        place = (*place, part)
    if node.type == "table_array_element":
        counts[place] = counts.get(place, 0) + 1
        yield place, Written(head)
        place = (*place, counts[place] - 1)
    yield place, Written(head)
    for child in node.children:
        if child.type == "pair":
            yield from _pair(child, place)


def _pair(node: Node, around: Place) -> Iterator[tuple[Place, Written]]:
    if len(node.children) < 3:
        return
    key, _, value = node.children[:3]  # then perhaps a comment
    place = around
    parts = _key(key)
    for count, part in enumerate(parts, 1):
        place = (*place, part)
        yield place, Written(key, value if count == len(parts) else None)
    yield from _value(value, place)


def _value(node: Node, place: Place) -> Iterator[tuple[Place, Written]]:
    if node.type == "inline_table":
        for child in node.children:
            if child.type == "pair":
                yield from _pair(child, place)
    elif node.type == "array":
        items = [c for c in node.children if c.is_named and c.type != "comment"]
        for index, item in enumerate(items):
            yield (*place, index), Written(item, item)
            yield from _value(item, (*place, index))


def _key(node: Node) -> tuple[str, ...]:
    if node.type == "dotted_key":
        return tuple(part for child in node.children if child.is_named for part in _key(child))
    text = (node.text or b"").decode()
    if node.type != "quoted_key":
        return (text,)
    try:
        return tuple(tomllib.loads(f"{text} = 0"))  # its escapes
    except ValueError:
        return (text[1:-1],)


def _span(node: Node, source: bytes) -> tuple[int, int, int]:
    """Line, column and width in characters; tree-sitter counts bytes."""
    start, end = node.start_point, node.end_point
    line_start = node.start_byte - start.column
    column = len(source[line_start : node.start_byte].decode())
    stop = node.end_byte if end.row == start.row else source.find(b"\n", node.start_byte)
    return start.row + 1, column + 1, len(source[node.start_byte : stop].decode().rstrip("\r"))
