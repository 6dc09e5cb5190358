"""What authors get wrong, and what they are told: tests/data/mistakes holds stories and their messages.

A file there holds cases: "===== name", the story, "-----", the messages. A first line "# as: ..." says how the story
is written: crlf, an encoding, or dict (given as data, its paths confined). `pytest --update-goldens` writes the
messages anew; read the difference as an author would.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import tomllib
import wave
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from storyboard.cli import main
from storyboard.mistakes import Mistake, StoryError, did_you_mean
from storyboard.settings import FlagError, Settings, SettingsError, settings
from storyboard.story import read_story, read_story_data

DATA = Path(__file__).parent / "data" / "mistakes"
CASE = re.compile(r"^===== (\S+)\n(.*?)^-----\n(.*?)(?=^===== |\Z)", re.MULTILINE | re.DOTALL)


def cases(path: Path) -> dict[str, tuple[str, str]]:
    """Story and messages by name."""
    text = path.read_bytes().decode()
    return {name: (story, said.strip("\n")) for name, story, said in CASE.findall(text)}


ALL = [(path.stem, name) for path in sorted(DATA.glob("*.txt")) for name in cases(path)]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and sounds, good and bad, in a folder that a confined story may not read."""
    outside = tmp_path_factory.mktemp("outside")
    folder = outside / "stage"
    (folder / "pictures").mkdir(parents=True)
    (folder / "reels.mp4").mkdir()
    picture = Image.fromarray(skimage.data.chelsea()[:96, :128])
    for name in ("dock.png", "storm.png", "pictures/dock.png", "../dock.png"):
        picture.save(folder / name)
    make_bad_pictures(folder)
    make_links(folder)
    write_sound(folder / "sea.wav")
    (folder / "notes.wav").write_text("do re mi\n")
    (folder / "empty.wav").touch()
    (folder / "song.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(64))
    for name, index in (("broken-model", "{"), ("other-model", "[]")):
        (folder / name).mkdir()
        (folder / name / "model_index.json").write_text(index)
    return folder


def make_bad_pictures(folder: Path) -> None:
    whole = (folder / "dock.png").read_bytes()
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    for name, content in {
        "empty.png": b"",
        "header.png": whole[:20],
        "text.png": b"A dock at dawn\n",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "drawing.svg": b'<?xml version="1.0"?>\n<!-- a dock -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
        "page.pdf": b"%PDF-1.7\n",
        "layers.psd": b"8BPS\0\1" + bytes(64),
        "bomb.png": whole[:8] + chunk + whole[33:],
    }.items():
        (folder / name).write_bytes(content)


def make_links(folder: Path) -> None:
    (folder / "outside.png").symlink_to("../dock.png")
    (folder / "ring.png").symlink_to("ring.png")
    (folder / "ring").symlink_to("ring")
    os.mkfifo(folder / "pipe.png")


def write_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))


def told(story: str) -> str:
    """What the author of a story in this folder is told."""
    path = Path("story.toml")
    how = re.match(r"# as: (\S+)\n", story)
    try:
        if how is not None and how[1] == "dict":
            read_story_data(tomllib.loads(story), path)
        else:
            write_as(path, story, how[1] if how else "utf-8")
            read_story(path)
    except StoryError as error:
        return str(error)
    return "no mistakes"


def write_as(path: Path, story: str, how: str) -> None:
    if how == "crlf":
        path.write_bytes(story.replace("\n", "\r\n").encode())
    else:
        path.write_bytes(story.encode(how))


@pytest.mark.parametrize(("group", "name"), ALL, ids=[f"{group}-{name}" for group, name in ALL])
def test_mistake(group: str, name: str, stage: Path, monkeypatch: pytest.MonkeyPatch, update_goldens: bool):
    monkeypatch.chdir(stage)
    path = DATA / f"{group}.txt"
    if update_goldens:
        remake(path)
    story, expected = cases(path)[name]
    assert told(story) == expected


def remake(path: Path) -> None:
    parts = [f"===== {name}\n{story}-----\n{told(story)}\n\n" for name, (story, _) in cases(path).items()]
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes("".join(parts).rstrip("\n").encode() + b"\n")
    aside.replace(path)


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def storyboard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """The command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["storyboard", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run


def write_dock(folder: Path, picture: bytes, more: str = "") -> Path:
    (folder / "dock.png").write_bytes(picture)
    path = folder / "story.toml"
    path.write_text(f'[[scene]]\nname = "dock"\nimage = "dock.png"\nprompt = "A dock"\n{more}', encoding="utf-8")
    return path


def encoded(picture: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


PHOTO = Image.fromarray(skimage.data.chelsea()[:96, :128])
CUT = {
    "png": encoded(PHOTO, "PNG")[:9000],
    "jpeg": encoded(PHOTO, "JPEG")[:1500],
    "webp": encoded(PHOTO, "WEBP")[:500],
    "gif": encoded(PHOTO, "GIF")[:1500],
    "bmp": encoded(PHOTO, "BMP")[:1500],
    "tiff": encoded(PHOTO, "TIFF")[:-20_000],
    "jpeg2000": encoded(PHOTO, "JPEG2000")[:2000],
    "ppm": encoded(PHOTO, "PPM")[:1500],
}


@pytest.mark.parametrize("kind", CUT)
def test_a_picture_cut_short_is_named_with_its_scene(kind: str, storyboard, tmp_path: Path):
    """Reading looks at headers only, so `validate` may pass: `plan` says it, and `render` begins nothing."""
    write_dock(tmp_path, CUT[kind])
    planned = storyboard("plan", "story.toml", "--draft")
    said = storyboard("render", "story.toml", "--draft")
    assert said.code == 3
    assert said.out == ""
    assert 'scene "dock": ' in said.err
    for text in (said.err, planned.out + planned.err):
        assert "dock.png" in text
        assert ": is the file whole?" in text
    assert said.err.count("\n") <= 3


def test_a_command_ends_without_a_traceback(tmp_path: Path):
    """As a person meets it: a process, its exit code and its words."""
    path = write_dock(tmp_path, CUT["png"])
    command = [sys.executable, "-m", "storyboard", "render", str(path), "--draft"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert re.fullmatch(r'scene "dock": .*dock\.png cannot be decoded \(.*\): is the file whole\?\n', done.stderr)


def test_a_picture_with_a_broken_profile_or_exif_is_a_picture(storyboard, tmp_path: Path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(20)
    write_dock(tmp_path, encoded(PHOTO, "JPEG", icc_profile=b"no profile" * 20, exif=exif))
    said = storyboard("plan", "story.toml", "--draft")
    assert (said.code, said.err) == (0, "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(storyboard, tmp_path: Path):
    path = write_dock(tmp_path, encoded(PHOTO, "PNG"))
    (tmp_path / "dock.png").chmod(0)
    said = storyboard("validate", "story.toml")
    assert said.code == 3
    assert 'image = "dock.png" cannot be opened (Permission denied)\n' in said.err
    path.chmod(0)
    with pytest.raises(StoryError, match=r"^story\.toml: cannot be read: Permission denied$"):
        read_story(Path("story.toml"))


def test_a_story_that_is_not_there(storyboard, tmp_path: Path):
    assert storyboard("plan", "story.toml").err == (
        "story.toml: there is no such file, or make one with `storyboard init`\n"
    )
    (tmp_path / "lighthouse.toml").touch()
    assert storyboard("plan", "story.toml").err == "story.toml: there is no such file (here: lighthouse.toml)\n"
    assert storyboard("plan", "none/story.toml").err == (
        "none/story.toml: there is no such file: make one with `storyboard init`\n"
    )
    assert storyboard("plan", ".").err == ".: is a folder: name the story file in it (here: lighthouse.toml)\n"
    assert storyboard("plan", "lighthouse.toml/story.toml").err == (
        "lighthouse.toml/story.toml: cannot be read: Not a directory\n"
    )
    assert storyboard("plan", "s" * 300).err.endswith(": cannot be read: File name too long\n")


@pytest.mark.parametrize("command", ["validate", "plan", "graph", "render", "verify", "seams", "gc", "export"])
def test_every_command_refuses_a_wrong_story(command: str, storyboard, tmp_path: Path):
    write_dock(tmp_path, encoded(PHOTO, "PNG"), 'camra = "push in"\n')
    said = storyboard(command, "story.toml", *(["--to", "png"] if command == "export" else []))
    assert said.code == 3
    assert said.out == ""
    assert said.err.startswith('story.toml:5:1: scene "dock": unknown key "camra" (did you mean "camera"?)\n')
    assert not (tmp_path / ".storyboard").exists()


def test_mistakes_as_json(storyboard, tmp_path: Path):
    write_dock(tmp_path, encoded(PHOTO, "PNG"), "seed = -1\n")
    said = storyboard("validate", "story.toml", "--json")
    assert said.code == 3
    assert json.loads(said.out) == [
        {
            "message": "seed = -1 must be at least 0",
            "file": "story.toml",
            "line": 5,
            "column": 1,
            "scene": "dock",
            "source": "seed = -1",
            "width": 4,
        }
    ]
    write_dock(tmp_path, encoded(PHOTO, "PNG"))
    said = storyboard("validate", "story.toml", "--json")
    assert (said.code, json.loads(said.out)) == (0, [])


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("title = " + "[" * 3000, "story.toml: is nested too deep to be a story"),
        ("\nseed = " + "9" * 5000, "story.toml:2:8: this number has too many digits to be read\n    2 | seed = 999"),
        ("\0", "story.toml:1:1: is not TOML: a line holds key = value, a [heading] or a # comment\n    1 | ␀\n"),
    ],
)
def test_what_no_author_writes(story: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert told(story).startswith(expected)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scene": ()},
        {"scene": [None]},
        {"scene": [{"name": "dock", "image": Path("dock.png"), "prompt": b"A dock"}]},
        {"scene": [{"name": "dock", "image": "\ud800.png", "prompt": "\udfff"}]},
        {1: 2, "scene": [{None: 1}]},
        {"look": {"seed": 2**70000}, "scene": [{"name": "dock"}]},
    ],
)
def test_data_that_no_toml_holds(data: dict, tmp_path: Path):
    with pytest.raises(StoryError) as error:
        read_story_data(data, tmp_path / "story.toml")
    assert str(error.value)


def test_data_is_read_as_its_text_would_be(stage: Path):
    text = '[look]\nseed = 3\n[[scene]]\nname = "dock"\nimage = "pictures/dock.png"\nprompt = "A dock"\n'
    path = stage / "as-data.toml"
    path.write_text(text)
    assert read_story_data(tomllib.loads(text), path) == read_story(path)


def test_a_mistake_without_a_place_is_one_line():
    assert str(Mistake("is wrong", "story.toml", scene="dock")) == 'story.toml: scene "dock": is wrong'


def test_nearest_words_keep_their_case():
    assert did_you_mean("dok", ["DOCK", "Sea"]) == ' (did you mean "DOCK"?)'
    assert did_you_mean("mountain", ["DOCK", "Sea"]) == ""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (b'modells = "x"', 'unknown key "modells" (did you mean "models"?)'),
        (b"gpu = 0", 'unknown key "gpu" (there are: models, store, device, finish_on, vram, ram, attention, compile)'),
        (b'vram = "lots"', 'vram: lots is no size: write it as in "24GiB" or "24GB"'),
        (b"ram = 32", 'ram: 32 is 32 bytes: name the unit, as in "24GiB"'),
        (b"vram = true", "vram: true is no size"),
        (b"compile = 1", "compile must be true or false, not 1"),
        (b"attention = 3", "attention must be text in quotes, not 3"),
        (b"store = 3", "store must be text in quotes, not 3"),
        (b'models = ["a", 3]', "models must be folders in quotes, not 3"),
        (b"device = ", " is not TOML: Invalid value (at end of document)"),
        (b"device = '\xe9'", " is not UTF-8 text: save it as UTF-8"),
        (b"device = " + b"[" * 3000, " is not TOML: "),
        (b'store = "~no-such-user/kept"', "~no-such-user/kept leads nowhere: write the whole path"),
    ],
)
def test_config_file_mistakes(config: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storyboard.settings.config_path", lambda: tmp_path / "config.toml")
    (tmp_path / "config.toml").write_bytes(config)
    with pytest.raises(SettingsError) as error:
        settings()
    assert expected in str(error.value)


def test_settings_from_flags_variables_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A flag wins over a variable, a variable over the file."""
    monkeypatch.setattr("storyboard.settings.config_path", lambda: tmp_path / "config.toml")
    for name in list(os.environ):
        if name.startswith("STORYBOARD_"):
            monkeypatch.delenv(name)
    assert settings() == Settings((), None, None)
    (tmp_path / "config.toml").write_text('models = ["/a", "~/b"]\nstore = "/kept"\ndevice = "cuda:1"\n')
    assert settings() == Settings((Path("/a"), Path.home() / "b"), Path("/kept"), "cuda:1")
    monkeypatch.setenv("STORYBOARD_MODELS", os.pathsep.join(("/c", "/d")))
    monkeypatch.setenv("STORYBOARD_STORE", "/other")
    assert settings(device="cpu") == Settings((Path("/c"), Path("/d")), Path("/other"), "cpu")
    assert settings(store=Path("/flag")).store == Path("/flag")


def test_how_wan_may_work_from_flags_variables_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storyboard.settings.config_path", lambda: tmp_path / "config.toml")
    for name in list(os.environ):
        if name.startswith("STORYBOARD_"):
            monkeypatch.delenv(name)
    assert settings().compile
    (tmp_path / "config.toml").write_text('vram = "12GiB"\nram = 34359738368\nattention = "cudnn"\ncompile = false\n')
    assert settings() == Settings((), None, None, 12 * 2**30, 32 * 2**30, "cudnn", False)
    monkeypatch.setenv("STORYBOARD_VRAM", "24 GB")
    monkeypatch.setenv("STORYBOARD_RAM", "64000 MiB")
    monkeypatch.setenv("STORYBOARD_ATTENTION", "sage")
    monkeypatch.setenv("STORYBOARD_COMPILE", "1")
    assert settings() == Settings((), None, None, 24 * 10**9, 64000 * 2**20, "sage", True)
    flagged = settings(vram="8g", ram="1.5TiB", attention="flash-2", compile=False)
    assert flagged == Settings((), None, None, 8 * 2**30, 3 * 2**39, "flash-2", False)
    monkeypatch.setenv("STORYBOARD_COMPILE", "perhaps")
    with pytest.raises(SettingsError, match="STORYBOARD_COMPILE=perhaps must be 1 or 0"):
        settings()
    with pytest.raises(FlagError, match="--vram: 24 gigs is no size"):
        settings(vram="24 gigs", compile=True)
    monkeypatch.setenv("STORYBOARD_ATTENTION", "flash")
    with pytest.raises(SettingsError, match=r'STORYBOARD_ATTENTION: there is no kernel "flash" \(did you mean "flash-'):
        settings(compile=True)
