"""Whatever lies in a story file, reading it gives a Story or a StoryError that can be shown; nothing else.

`STORYBOARD_FUZZ=20000 pytest tests/test_fuzz.py` tries that many examples of each kind, new ones every time.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from storyboard.edit import with_seed
from storyboard.graph import graph_mermaid, graph_svg, graph_text
from storyboard.mistakes import StoryError
from storyboard.schema import json_schema
from storyboard.story import Story, read_story, read_story_data

LONGER = os.environ.get("STORYBOARD_FUZZ")
fuzz = settings(
    max_examples=int(LONGER or 350),
    derandomize=not LONGER,  # in CI the same examples every time
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

GOOD = """\
#:schema ./story.schema.json
title = "The lighthouse"

[look]                          # what every scene starts from
model   = "wan2.2-i2v-a14b"
recipe  = "mine"
size    = "auto"
seconds = 5
fps     = 16
seed    = 7
style   = "35mm film, soft light"
fit     = "contain"
background = "white"
negative_prompt = "blurry, watermark"
avoid   = ["mouth-movement", "blur"]  # named

[[scene]]
name   = "dock"
image  = "dock.png"
prompt = "A wooden dock at dawn, mist drifting over the water"
camera = "push in"

[[scene]]
name   = "boat"
prompt = '''A rowing boat
leaves the dock'''
frames = 33

[[scene]]
name   = "storm"
after  = "dock"
end_image = "storm.png"
prompt = "The sky darkens — 嵐"
loras  = [{ file = "storm.safetensors", high = 1.0, low = 0.8 }]

[[scene]]
name = "sea"
end_on = "dock"
prompt = "The sea"
[[scene.loras]]
high_file = "a.safetensors"
low_file = "b.safetensors"

[finish]
upscale     = { model = "realesrgan-x4plus", size = "1920x1080" }
interpolate = { model = "rife", factor = 2 }
encode      = { codec = "h264", crf = 16, preset = "medium" }
film        = "lighthouse.mp4"

[recipe.mine]
sampler   = "uni_pc"
scheduler = "simple"
steps     = 12
shift     = 8.0
cfg       = { high = 3.5, low = 1.0 }
boundary  = 0.9
loras     = [{ file = "lightx2v_4step.safetensors", high = 3.0, low = 1.0 }]

[recipe.other]
sigmas = [1.0, 0.94, 0.5, 0.0]
cfg = [3.5, 2.0, 1.0]
"""
LINES = GOOD.split("\n")
WRITTEN = [line.partition("=")[2] for line in LINES if "=" in line]
WORDS = sorted(set(re.findall(r"[A-Za-z_][\w.-]*", GOOD)))
SCHEMA = jsonschema.Draft202012Validator(json_schema())


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A story file's place, with its pictures."""
    folder = tmp_path_factory.mktemp("fuzz")
    picture = Image.fromarray(skimage.data.chelsea()[:96, :128])
    for name in ("dock.png", "storm.png"):
        picture.save(folder / name)
    return folder / "story.toml"


def is_read(place: Path, text: bytes) -> None:
    place.write_bytes(text)
    try:
        story = read_story(place)
    except StoryError as error:
        can_be_shown(error, text)
    else:
        can_be_used(story, text.decode("utf-8-sig"))


def can_be_shown(error: StoryError, text: bytes) -> None:
    lines = text.count(b"\n") + 1
    assert str(error).encode()
    assert json.dumps([asdict(mistake) for mistake in error.mistakes], ensure_ascii=False).encode()
    assert error.mistakes
    for mistake in error.mistakes:
        assert mistake.message
        assert 0 <= mistake.line <= lines
        assert not mistake.line or 1 <= mistake.column <= len(mistake.source) + 1
        assert all(character >= " " or character in "\n\t" for character in str(mistake))


def can_be_used(story: Story, text: str) -> None:
    assert len(graph_text(story).split("\n")) >= len(story.scenes)
    assert graph_mermaid(story)
    ET.fromstring(graph_svg(story))
    SCHEMA.validate(tomllib.loads(text))
    name = story.scenes[-1].name
    changed, data = tomllib.loads(with_seed(text, name, 12345)), tomllib.loads(text)
    data["scene"][-1]["seed"] = 12345
    assert changed == data


bits = st.text(st.characters(max_codepoint=127), max_size=4).map(str.encode) | st.sampled_from(
    [b'"', b"'", b"[", b"]", b"{", b"}", b"=", b"\n", b"\r\n", b"\xff", b"\0", b"7", b".", b"-", "嵐".encode()]
)


@st.composite
def flipped(draw: st.DrawFn) -> bytes:
    """Bytes changed, put in and taken out."""
    text = bytearray(GOOD.encode())
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(text) - 1))
        text[where : where + draw(st.integers(0, 3))] = draw(bits)
    return bytes(text)


@st.composite
def shuffled(draw: st.DrawFn) -> bytes:
    """Lines dropped, repeated, swapped, cut off; other line ends, a byte order mark."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        where, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["drop", "repeat", "swap", "cut", "join"])):
            case "drop":
                lines[where : where + 1] = lines[where : where + 1] if len(lines) < 3 else []
            case "repeat":
                lines.insert(other % len(lines), lines[where % len(lines)])
            case "swap":
                lines[where], lines[other] = lines[other], lines[where]
            case "cut":
                lines[where] = lines[where][: draw(st.integers(0, 20))]
            case _:
                lines[where : where + 2] = [" ".join(lines[where : where + 2])]
    text = draw(st.sampled_from(["\n", "\n", "\r\n"])).join(lines)
    return text.encode(draw(st.sampled_from(["utf-8"] * 8 + ["utf-8-sig"] * 8 + ["utf-16"])))


def toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=True).replace("\\ud", "\\u0d").replace("\x7f", "\\u007f")


numbers = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers(-(2**80), 2**80).map(str),
    st.integers(1, 20_000).map(lambda digits: f"0x{'f' * digits}"),
    st.integers(1, 6000).map(lambda digits: "9" * digits),
    st.floats(allow_nan=False, allow_infinity=False).map(repr).filter(lambda text: "e" not in text or "." in text),
    st.sampled_from(["nan", "-nan", "inf", "-inf", "1e400", "-0.0", "0b1", "0o7", "1_000"]),
)
texts = st.one_of(
    st.text(max_size=30).map(toml_text),
    st.sampled_from(WORDS).map(toml_text),
    st.sampled_from(["", ".", "..", "/", "~", "~x/y", "a/" * 3000, "x" * 70_000, "\0", "\u202e", "0x0", "9x9"]).map(
        toml_text
    ),
    st.sampled_from(["'''\n\n'''", '"""\\\n  a"""', "''", '"\\U0001F30A"', "'\\'"]),
)
moments = st.sampled_from(
    ["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "1979-05-27T00:32:00.999999-07:00", "2026-02-30"]
)
values = st.recursive(
    numbers | texts | moments | st.sampled_from(["true", "false"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(WORDS) | st.just('""'), inner, max_size=4).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
        st.tuples(st.integers(1, 400), inner).map(lambda deep: "[" * deep[0] + deep[1] + "]" * deep[0]),
        st.tuples(st.integers(1, 200), inner).map(lambda deep: "{ a = " * deep[0] + deep[1] + " }" * deep[0]),
    ),
    max_leaves=6,
)


@st.composite
def replaced(draw: st.DrawFn) -> bytes:
    """Values of other types, keys in other tables, tables of other kinds."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.integers(0, len(lines) - 1))
        key, equals, _value = lines[where].partition("=")
        match draw(st.sampled_from(["value", "value", "key", "heading", "new"])):
            case "value" if equals:
                lines[where] = f"{key}= {draw(values | st.sampled_from(WRITTEN))}"
            case "key" if equals:
                lines[where] = f"{draw(st.sampled_from(WORDS))} ={_value}"
            case "heading":
                lines[where] = draw(st.sampled_from(["[{}]", "[[{}]]"])).format(
                    draw(st.sampled_from([*WORDS, "scene.loras"]))
                )
            case _:
                lines.insert(where, f"{draw(st.sampled_from(WORDS))} = {draw(values)}")
    return "\n".join(lines).encode()


@fuzz
@given(text=flipped())
def test_flipped_bytes(place: Path, text: bytes):
    is_read(place, text)


@fuzz
@given(text=shuffled())
def test_shuffled_lines(place: Path, text: bytes):
    is_read(place, text)


@fuzz
@given(text=replaced())
def test_replaced_values(place: Path, text: bytes):
    is_read(place, text)


@fuzz
@given(
    text=st.binary(max_size=300)
    | st.text(max_size=300).map(str.encode)
    | values.map(lambda value: f"scene = {value}".encode())
)
def test_anything(place: Path, text: bytes):
    is_read(place, text)


things = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=5),
        st.sampled_from([*WORDS, "../dock.png", "/etc/passwd", "dock.png", "\ud800", "\0", "x" * 5000, "auto"]),
        st.dates(),
        st.integers(20_000, 20_001).map(lambda bits: 1 << bits),
        st.just(Path("dock.png")),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def data_of_a_story(draw: st.DrawFn) -> dict[Any, Any]:
    """The good story with some values replaced, at any depth."""
    data: dict[Any, Any] = tomllib.loads(GOOD)
    for _ in range(draw(st.integers(0, 4))):
        here: Any = data
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            key = draw(st.sampled_from(keys)) if keys else "title"
            inner = here[key] if keys else None
            if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                here = inner
            else:
                break
        if isinstance(here, dict) or keys:
            here[key] = draw(things)
    return data


@fuzz
@given(data=data_of_a_story())
def test_data(place: Path, data: dict[Any, Any]):
    """Given as data, by a server say: paths stay in the folder."""
    try:
        story = read_story_data(data, place)
    except StoryError as error:
        can_be_shown(error, b"")
        return
    inside = place.parent.resolve()
    found = [link for scene in story.scenes for link in (scene.opens_on, scene.ends_on) if isinstance(link, Path)]
    assert all(path.resolve().is_relative_to(inside) for path in [*found, story.film])


def test_the_good_story_is_good(place: Path):
    place.write_text(GOOD, encoding="utf-8")
    assert len(read_story(place).scenes) == 4
