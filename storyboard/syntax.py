"""tomllib's errors in an author's words."""

from __future__ import annotations

import re

from storyboard.mistakes import Mistake, Places

CURLY = re.compile("[“”„‘’]")
UNCLOSED = "text is not closed: a quote is missing"
WORDS: tuple[tuple[str, str], ...] = (
    ("Invalid value", 'there is no value here: text stands in quotes, "like this"; numbers, true and false stand bare'),
    ("Invalid statement", "a line holds key = value, a [heading] or a # comment"),
    ("Invalid initial character for a key part", "here a key must stand: letters, digits, - and _"),
    ("Expected '=' after a key.*", 'a key is followed by = and its value, as in name = "dock"'),
    ("Expected newline or end of document.*", "something is left over after the value: a line holds one key = value"),
    (r"Expected '\]' at the end.*", "a heading closes with ], as in [look]"),
    (r"Expected '\]\]' at the end.*", "this heading closes with ]], as in [[scene]]"),
    (r"Cannot declare \('([^']*)',\) twice", r"[\1] is there already: put all of its keys under one heading"),
    (r"Cannot declare .* twice", "this table is there already: put all of its keys under one heading"),
    ("Cannot overwrite a value|Duplicate inline table key .*", "this key is there already: keep one"),
    ("Cannot (mutate immutable|redefine) namespace .*", "this table is written in two ways: keep one"),
    ("Unclosed array", "a list is not closed: a ] or a comma is missing"),
    ("Unclosed inline table", "a table is not closed: a } or a comma is missing (it stands on one line)"),
    (r"Unescaped '\\\\' in a string", r"\\ has a meaning of its own in quotes: write / in paths, or \\\\"),
    (r"Unescaped '\\' in a string", r"\\ has a meaning of its own in quotes: write / in paths, or \\\\"),
    ("Invalid hex value|Escaped character is not.*", r"\\u and \\U need the number of a character: write / in paths"),
    (r"Illegal character '\\[nr]'|Unterminated string|Expected [\"']{3,}.*", UNCLOSED),
    ("Invalid date or datetime", "there is no such date"),
    ("(Illegal|Found invalid) character .*", "an invisible control character stands here: delete it"),
)


def syntax_mistake(said: str, file: str, places: Places) -> Mistake:
    """What tomllib said, at its place."""
    at = re.search(r" \(at line (\d+), column (\d+)\)$", said)
    what = re.sub(r" \(at [^()]*\)$", "", said)
    line, column, width, source = places.at(int(at[1]), int(at[2])) if at else places.end()
    if what.startswith(("Cannot", "Duplicate")):  # noticed once the value is read: its key is what to look at
        column = len(source) - len(source.lstrip()) + 1
        width = len(re.split(r"\s*=", source.strip())[0])
    if what == "Invalid value" and re.match(r"[\w\"'-]+\s*=", source[column - 1 :]):
        what = "Unclosed array"  # the next line was read as its item
    message = next((re.sub(pattern, words, what) for pattern, words in WORDS if re.fullmatch(pattern, what)), what)
    if CURLY.match(source[column - 1 :]):
        message = 'text stands in straight quotes, "like this"'
    return Mistake(f"is not TOML: {message}", file, line, column, None, source, width)


def long_number(text: str, file: str, places: Places) -> Mistake:
    """The number that Python refused to read."""
    found = re.search(r"\d[\d_]{4000,}", text)
    start = found.start() if found else 0
    line, column, width, source = places.at(text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))
    return Mistake("this number has too many digits to be read", file, line, column, None, source, width)
