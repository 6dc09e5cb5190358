"""Reading a story: defaults, overrides, seeds, lengths, sizes; its graph, its schema, and a seed written into it."""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scenes.wan.recipes import Nag
from storyboard.edit import with_seed, write_seed
from storyboard.graph import graph_mermaid, graph_svg, graph_text
from storyboard.mistakes import StoryError
from storyboard.presets import NEGATIVES, POSITIVES
from storyboard.resolve import derived_seed
from storyboard.schema import json_schema
from storyboard.starter import write_starter
from storyboard.story import After, Finishing, LoraUse, Opening, Sampling, Scene, Story, Tuned, read_story

# The story that the contract shows, with every key there is.
SHOWN = """\
#:schema ./story.schema.json
title = "The lighthouse"

[look]                          # what every scene starts from
model   = "wan2.2-i2v-a14b"
recipe  = "lightning-4"
size    = "832x480"
seconds = 5
fps     = 16
seed    = 7
style   = "35mm film, soft light"
fit     = "cover"
background = "white"
negative_prompt = "blurry, watermark"
avoid   = ["mouth-movement"]

[[scene]]
name   = "dock"
image  = "dock.png"
prompt = "A wooden dock at dawn, mist drifting over the water"
camera = "push in"

[[scene]]
name   = "boat"
prompt = "A rowing boat leaves the dock"

[[scene]]
name   = "storm"
after  = "dock"
end_image = "storm.png"
prompt = "The sky darkens, waves rise"
loras  = [{ file = "storm.safetensors", high = 1.0, low = 0.8 }]

[finish]
upscale     = { model = "realesrgan-x4plus", size = "1920x1080" }
interpolate = { model = "rife", factor = 2 }
encode      = { codec = "h264", crf = 16, preset = "medium" }
soundtrack  = "sea.wav"
film        = "lighthouse.mp4"

[recipe.mine]
sampler   = "uni_pc"
scheduler = "simple"
steps     = 12
shift     = 8.0
cfg       = 3.5
boundary  = 0.9
loras     = [{ file = "lightx2v_4step.safetensors", high = 3.0, low = 1.0 }]
"""
DOCK = '[[scene]]\nname = "dock"\nimage = "dock.png"\nprompt = "A dock"\n'
BOAT = '[[scene]]\nname = "boat"\nprompt = "A boat"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = Image.fromarray(skimage.data.chelsea()[:90, :156])
    for name in ("dock.png", "storm.png"):
        picture.save(tmp_path / name)
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Callable[[str], Story]:
    def read_text(text: str) -> Story:
        path = folder / "story.toml"
        path.write_text(text, encoding="utf-8")
        return read_story(path)

    return read_text


class TestDefaults:
    def test_what_is_left_out(self, read: Callable[[str], Story], folder: Path):
        story = read(DOCK)
        assert story == Story(
            path=folder / "story.toml",
            title="story",
            model=story.model,
            weights="wan2.2-i2v-a14b",
            precision=None,
            vae="fp32",
            size=(832, 480),
            fps=Fraction(16),
            scenes=(
                Scene(
                    name="dock",
                    prompt="A dock",
                    negative_prompt="",
                    opens_on=folder / "dock.png",
                    ends_on=None,
                    seed=derived_seed(0, "dock"),
                    frames=81,
                    asked_frames=81,
                    camera=None,
                    caption=False,
                    fit="cover",
                    background=(255, 255, 255),
                    recipe="lightning-4",
                    loras=(),
                ),
            ),
            recipes=(),
            finishing=Finishing("realesrgan-x4plus", (1664, 960), "rife", 2, "h264", 16.0, "medium", None),
            film=folder / "out" / "story.mp4",
        )
        assert story.model.name == "wan2.2-i2v-a14b"

    def test_of_the_5b(self, read: Callable[[str], Story]):
        story = read(f'[look]\nmodel = "wan2.2-ti2v-5b"\n{DOCK}')
        assert (story.fps, story.scenes[0].frames) == (24, 121)

    def test_of_a_recipe(self, read: Callable[[str], Story]):
        (recipe,) = read(f"{DOCK}[recipe.mine]\n").recipes
        assert recipe == ("mine", Sampling("uni_pc", "simple", 20, 5.0, None, (1.0, 1.0), None, None, ()))

    def test_the_story_that_the_contract_shows(self, read: Callable[[str], Story], folder: Path):
        story = read(SHOWN.replace('soundtrack  = "sea.wav"\n', ""))
        dock, boat, storm = story.scenes
        assert story.title == "The lighthouse"
        assert story.film == folder / "lighthouse.mp4"
        assert story.finishing == Finishing("realesrgan-x4plus", (1920, 1080), "rife", 2, "h264", 16.0, "medium", None)
        assert [scene.opens_on for scene in story.scenes] == [folder / "dock.png", After("dock"), After("dock")]
        assert [scene.ends_on for scene in story.scenes] == [None, None, folder / "storm.png"]
        assert [scene.frames for scene in story.scenes] == [81, 81, 81]
        assert [scene.asked_frames for scene in story.scenes] == [80, 80, 80]
        assert [scene.camera for scene in story.scenes] == ["push in", None, None]
        assert dock.prompt == "A wooden dock at dawn, mist drifting over the water, 35mm film, soft light"
        assert boat.negative_prompt == f"blurry, watermark, {NEGATIVES['mouth-movement']}"
        assert storm.loras == (LoraUse("storm.safetensors", "storm.safetensors", 1.0, 0.8),)
        assert story.recipes == (
            (
                "mine",
                Sampling(
                    "uni_pc",
                    "simple",
                    12,
                    8.0,
                    None,
                    (3.5, 3.5),
                    0.9,
                    None,
                    (LoraUse("lightx2v_4step.safetensors", "lightx2v_4step.safetensors", 3.0, 1.0),),
                ),
            ),
        )
        assert [story.lead(index) for index in range(3)] == [None, "dock", None]


class TestOverrides:
    @pytest.mark.parametrize(
        ("key", "look", "own", "attribute", "found"),
        [
            ("recipe", '"lcm-4"', '"motion-6"', "recipe", ("lcm-4", "motion-6")),
            ("seconds", "2", "3", "asked_frames", (32, 48)),
            ("frames", "33", "17", "asked_frames", (33, 17)),
            ("seed", "7", "8", "seed", (derived_seed(7, "dock"), 8)),
            ("style", '"soft"', '"hard"', "prompt", ("A dock, soft", "A boat, hard")),
            ("camera", '"push in"', '"hold"', "camera", ("push in", "hold")),
            ("caption", "true", "false", "caption", (True, False)),
            ("fit", '"contain"', '"cover"', "fit", ("contain", "cover")),
            ("background", '"#102030"', '"black"', "background", ((16, 32, 48), (0, 0, 0))),
            ("negative_prompt", '"blurry"', '"sharp"', "negative_prompt", ("blurry", "sharp")),
            ("avoid", '["blur"]', "[]", "negative_prompt", (NEGATIVES["blur"], "")),
            ("loras", '[{ file = "a" }]', "[]", "loras", ((LoraUse("a", "a", 1.0, 1.0),), ())),
            ("presets", '["waving"]', "[]", "positives", ((POSITIVES["waving"],), ())),
        ],
    )
    def test_a_scene_has_its_own_or_the_looks(
        self, key: str, look: str, own: str, attribute: str, found: tuple[Any, Any], read: Callable[[str], Story]
    ):
        story = read(f"[look]\n{key} = {look}\n{DOCK}{BOAT}{key} = {own}\n")
        assert tuple(getattr(scene, attribute) for scene in story.scenes) == found

    def test_seconds_of_a_scene_stand_against_frames_of_the_look(self, read: Callable[[str], Story]):
        story = read(f"[look]\nframes = 33\n{DOCK}{BOAT}seconds = 1\n")
        assert [scene.asked_frames for scene in story.scenes] == [33, 16]

    def test_prompts_are_joined_with_one_comma(self, read: Callable[[str], Story]):
        story = read(f'[look]\nstyle = " soft light, "\n{DOCK}{BOAT.replace("A boat", " A boat, ")}style = ""\n')
        assert [scene.prompt for scene in story.scenes] == ["A dock, soft light", "A boat"]

    def test_negatives_are_joined(self, read: Callable[[str], Story]):
        (scene,) = read(f'[look]\nnegative_prompt = "text"\n{DOCK}avoid = ["blur", "mouth-movement"]\n').scenes
        assert scene.negative_prompt == f"text, {NEGATIVES['blur']}, {NEGATIVES['mouth-movement']}"

    @pytest.mark.parametrize(
        ("key", "value", "attribute", "found"),
        [
            ("fps", "12", "fps", Fraction(12)),
            ("vae", '"bf16"', "vae", "bf16"),
            ("precision", '"fp8"', "precision", "fp8"),
            ("model", '"my/wan-5B-folder"', "weights", "my/wan-5B-folder"),
            ("model", '{ low = "l", high = "h" }', "weights", (("high", "h"), ("low", "l"))),
        ],
    )
    def test_of_the_whole_story(
        self, key: str, value: str, attribute: str, found: object, read: Callable[[str], Story]
    ):
        assert getattr(read(f"[look]\n{key} = {value}\n{DOCK}"), attribute) == found

    def test_a_folder_of_weights_is_the_model_it_says(self, read: Callable[[str], Story], folder: Path):
        (folder / "weights").mkdir()
        index = folder / "weights" / "model_index.json"
        index.write_text('{ "expand_timesteps": true }')
        assert read(f'[look]\nmodel = "weights"\n{DOCK}').model.name == "wan2.2-ti2v-5b"
        index.write_text('{ "expand_timesteps": false }')
        assert read(f'[look]\nmodel = "weights"\n{DOCK}').model.name == "wan2.2-i2v-a14b"


class TestSeeds:
    def test_are_derived_from_the_storys_and_the_name(self):
        """Pinned: another derivation would draw every film anew."""
        assert [derived_seed(0, "dock"), derived_seed(7, "dock"), derived_seed(7, "boat")] == PINNED_SEEDS
        assert derived_seed(2**63 - 1, "dock") == PINNED_SEED_OF_THE_LARGEST

    def test_do_not_change_with_the_scenes_around(self, read: Callable[[str], Story]):
        one = read(f"[look]\nseed = 7\n{DOCK}{BOAT}")
        other = read(f"[look]\nseed = 7\n{DOCK}{BOAT.replace('boat', 'sea')}{BOAT}")
        assert one.scene("boat").seed == other.scene("boat").seed == PINNED_SEEDS[2]
        assert len({scene.seed for scene in other.scenes}) == 3

    def test_may_be_zero(self, read: Callable[[str], Story]):
        assert read(f"{DOCK}seed = 0\n").scenes[0].seed == 0


PINNED_SEEDS = [1764182780, 92794814, 3555363000]
PINNED_SEED_OF_THE_LARGEST = 1279592791


class TestLengths:
    @pytest.mark.parametrize(
        ("model", "said", "frames"),
        [
            ("wan2.2-i2v-a14b", "seconds = 5", 81),  # 80
            ("wan2.2-i2v-a14b", "seconds = 5.0625", 81),
            ("wan2.2-i2v-a14b", "seconds = 0.01", 5),
            ("wan2.2-i2v-a14b", "seconds = 1", 17),  # 16
            ("wan2.2-i2v-a14b", "seconds = 3.3", 53),  # 52.8
            ("wan2.2-i2v-a14b", "frames = 1", 5),
            ("wan2.2-i2v-a14b", "frames = 6", 5),
            ("wan2.2-i2v-a14b", "frames = 8", 9),
            ("wan2.2-i2v-a14b", "frames = 82", 81),
            ("wan2.2-i2v-a14b", "frames = 2001", 2001),
            ("wan2.2-ti2v-5b", "seconds = 5", 121),  # 120
            ("wan2.2-ti2v-5b", "seconds = 1", 25),  # 24
            ("wan2.2-ti2v-5b", "seconds = 60", 1441),
        ],
    )
    def test_are_taken_to_4n_plus_1_at_the_models_rate(
        self, model: str, said: str, frames: int, read: Callable[[str], Story]
    ):
        (scene,) = read(f'[look]\nmodel = "{model}"\n{said}\n{DOCK}').scenes
        assert scene.frames == frames
        assert (scene.frames - 1) % 4 == 0

    def test_of_another_fps_are_still_at_the_models_rate(self, read: Callable[[str], Story]):
        assert read(f"[look]\nfps = 8\nseconds = 5\n{DOCK}").scenes[0].frames == 81

    @given(st.floats(0.001, 60))
    def test_are_the_nearest(self, seconds: float):
        from scenes.wan.models import whole_frames

        frames = whole_frames(seconds * 16)
        assert frames >= 5
        assert frames % 4 == 1
        assert abs(frames - seconds * 16) <= 2 or frames == 5


class TestSizes:
    @pytest.mark.parametrize(
        ("shape", "size"),
        [
            ((1920, 1080), (832, 480)),
            ((832, 480), (832, 480)),
            ((640, 480), (720, 544)),
            ((500, 480), (624, 624)),
            ((3000, 4000), (544, 720)),
            ((1080, 1920), (480, 832)),
            ((12000, 100), (832, 480)),
            ((1, 1), (624, 624)),
        ],
    )
    def test_auto_is_the_nearest_of_the_models_buckets(
        self, shape: tuple[int, int], size: tuple[int, int], read: Callable[[str], Story], folder: Path
    ):
        Image.new("RGB", shape).save(folder / "dock.png")
        assert read(f'[look]\nsize = "auto"\n{DOCK}').size == size

    def test_auto_of_the_5b(self, read: Callable[[str], Story], folder: Path):
        Image.new("RGB", (1000, 1000)).save(folder / "dock.png")
        assert read(f'[look]\nmodel = "wan2.2-ti2v-5b"\nsize = "auto"\n{DOCK}').size == (960, 960)

    @pytest.mark.parametrize("name", ["dock.jpg", "dock.png", "dock.tif"])
    def test_auto_sees_a_phones_picture_upright(self, name: str, read: Callable[[str], Story], folder: Path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (400, 300)).save(folder / name, exif=exif)
        assert read(f'[look]\nsize = "AUTO"\n{DOCK.replace("dock.png", name)}').size == (544, 720)

    def test_auto_is_of_the_first_picture_in_play_order(self, read: Callable[[str], Story], folder: Path):
        Image.new("RGB", (300, 400)).save(folder / "tall.png")
        tall = '[[scene]]\nname = "tall"\nimage = "./tall.png"\nprompt = "A tower"\n'
        later = BOAT + 'after = "tall"\n'
        assert read(f'[look]\nsize = "auto"\n{later}{tall}{DOCK}').size == (544, 720)

    @pytest.mark.parametrize("text", ["640x384", " 640 X 384 ", "640×384"])
    def test_written_in_all_ways(self, text: str, read: Callable[[str], Story]):
        assert read(f'[look]\nsize = "{text}"\n{DOCK}').size == (640, 384)

    @pytest.mark.parametrize(
        ("upscale", "size"),
        [
            ("", (1664, 960)),
            ("scale = 1", (832, 480)),
            ("scale = 1.5", (1248, 720)),
            ("scale = 0.33", (274, 158)),
            ("short_side = 1080", (1872, 1080)),
            ('size = "1920x1080"', (1920, 1080)),
            ('model = "none"', (832, 480)),
        ],
    )
    def test_of_the_film_are_even(self, upscale: str, size: tuple[int, int], read: Callable[[str], Story]):
        assert read(f"{DOCK}[finish]\nupscale = {{ {upscale} }}\n").finishing.size == size

    @pytest.mark.parametrize(
        ("said", "found"),
        [
            ("factor = 1", ("none", 1)),
            ('model = "none", factor = 4', ("none", 1)),
            ('model = "flow"', ("flow", 2)),
            ("factor = 8", ("rife", 8)),
        ],
    )
    def test_no_interpolation_is_said_in_two_ways(
        self, said: str, found: tuple[str, int], read: Callable[[str], Story]
    ):
        finishing = read(f"{DOCK}[finish]\ninterpolate = {{ {said} }}\n").finishing
        assert (finishing.interpolator, finishing.factor) == found


class TestRecipes:
    @pytest.mark.parametrize(
        ("said", "key", "value"),
        [
            ('sampler = "dpmpp_2m_sde"', "sampler", "dpmpp_2m_sde"),
            ('scheduler = "beta"', "scheduler", "beta"),
            ("steps = 4", "steps", 4),
            ("shift = 3", "shift", 3),
            ("cfg = 3.5", "cfg", (3.5, 3.5)),
            ("cfg = { high = 3.5, low = 1 }", "cfg", (3.5, 1)),
            ("cfg = { high = 2.0 }", "cfg", (2.0, 1.0)),
            ("steps = 3\ncfg = [3.5, 2, 1]", "cfg", (3.5, 2, 1)),
            ("boundary = 0.875", "boundary", 0.875),
            ("steps = 4\nhigh_steps = 2", "high_steps", 2),
            ("high_steps = 0", "high_steps", 0),
            ("sigmas = [1.0, 0.94, 0.5, 0]", "sigmas", (1.0, 0.94, 0.5, 0)),
            ("sigmas = [1.0, 0.94, 0.5, 0]", "steps", 3),
            ("sigmas = [1.0, 0.94, 0.5, 0]", "scheduler", None),
            ("sigmas = [1.0, 0.94, 0.5, 0]", "shift", None),
            ("sigmas = [1.0, 0.5, 0]\ncfg = [2, 1]", "cfg", (2, 1)),
            ('loras = [{ file = "a" }]', "loras", (LoraUse("a", "a", 1.0, 1.0),)),
            ('loras = [{ file = "a", high = 3, low = 0 }]', "loras", (LoraUse("a", "a", 3, 0),)),
            ('loras = [{ high_file = "h", low_file = "l" }]', "loras", (LoraUse("h", "l", 1.0, 1.0),)),
            ('loras = [{ high_file = "h", high = 2 }]', "loras", (LoraUse("h", "", 2, 0.0),)),
            ('loras = [{ low_file = "l", low = -1 }]', "loras", (LoraUse("", "l", 0.0, -1),)),
            ("", "nag", None),
            ("nag = true", "nag", True),
            ("nag = false", "nag", False),
            ("nag = { scale = 7 }", "nag", Nag(7.0, Nag().tau, Nag().alpha)),
            ("steps = 2\ncfg = [3, 1]", "per_step", True),
            ("steps = 2\ncfg = { high = 3 }", "per_step", False),
        ],
    )
    def test_every_form(self, said: str, key: str, value: object, read: Callable[[str], Story]):
        story = read(f'[look]\nrecipe = "mine"\n{DOCK}[recipe.mine]\n{said}\n')
        assert story.scenes[0].recipe == "mine"
        assert getattr(story.recipes[0][1], key) == value

    @pytest.mark.parametrize(
        ("name", "said", "loras"),
        [
            ("lightning-4", 'loras = [{ high_file = "h", low_file = "l" }]', (LoraUse("h", "l", 1.0, 1.0),)),
            ("motion-6", 'loras = [{ file = "a" }]', (LoraUse("a", "a", 3.0, 1.0),)),
            ("motion-6", 'loras = [{ file = "a", high = 2 }]', (LoraUse("a", "a", 2.0, 1.0),)),
            ("hybrid-12", 'loras = [{ file = "a" }]', (LoraUse("a", "a", 0.0, 1.0),)),
            ("quality-40", "nag = true", ()),
        ],
    )
    def test_of_ours_take_loras_and_nag(
        self, name: str, said: str, loras: tuple[LoraUse, ...], read: Callable[[str], Story]
    ):
        """At the recipe's own strengths, unless the story says others."""
        story = read(f"{DOCK}[recipe.{name}]\n{said}\n")
        assert story.recipes == ()
        assert story.tuned == ((name, Tuned(loras, True if "nag" in said else None)),)

    def test_usual_of_each_model(self, read: Callable[[str], Story]):
        assert read(DOCK).scenes[0].recipe == "lightning-4"
        assert read(f'[look]\nmodel = "wan2.2-ti2v-5b"\n{DOCK}').scenes[0].recipe == "quality-40"

    @pytest.mark.parametrize(
        "said", ["steps = 4", "cfg = 3.5", "steps = 2\ncfg = [3, 1]", 'loras = [{ file = "a", high = 2 }]']
    )
    def test_forms_of_the_5b(self, said: str, read: Callable[[str], Story]):
        assert read(f'[look]\nmodel = "wan2.2-ti2v-5b"\nrecipe = "mine"\n{DOCK}[recipe.mine]\n{said}\n').recipes


class TestGraph:
    TEXT = (
        f"{DOCK}{BOAT}"
        '[[scene]]\nname = "storm"\nafter = "dock"\nend_image = "storm.png"\nprompt = "a < b & \\u0001 \\"c\\""\n'
        '[[scene]]\nname = "home-again-after-a-long-way"\nend_on = "dock"\nprompt = "Home"\n'
        '[[scene]]\nname = "cut"\nimage = "st&<#>orm.png"\nprompt = "Cut"\n'
    )

    @pytest.fixture
    def story(self, read: Callable[[str], Story], folder: Path) -> Story:
        (folder / "st&<#>orm.png").write_bytes((folder / "storm.png").read_bytes())
        return read(self.TEXT)

    def test_links(self, story: Story):
        assert story.scenes[3].opens_on == After("storm")
        assert story.scenes[3].ends_on == Opening("dock")
        assert story.scenes[3].needs == ("storm", "dock")

    def test_as_text(self, story: Story):
        assert graph_text(story).split("\n") == [
            "       dock                         opens on dock.png",
            "chain  boat                         after dock",
            "cut    storm                        after dock, ends on storm.png",
            "chain  home-again-after-a-long-way  after storm, ends on the opening of dock",
            "cut    cut                          opens on st&<#>orm.png",
        ]

    def test_as_mermaid(self, story: Story):
        lines = graph_mermaid(story).split("\n")
        assert lines[0] == "flowchart LR"
        assert "  s0 --> s1" in lines
        assert "  s0 --> s2" in lines
        assert "  s3 -. ends on .-> s0" in lines
        assert '  p4[/"st&<#35;>orm.png"/] --> s4' in lines
        assert len(lines) == 1 + 5 + 5 + 2

    def test_as_svg(self, story: Story):
        root = ET.fromstring(graph_svg(story))
        name = "{http://www.w3.org/2000/svg}"
        titles = [title.text for title in root.iter(f"{name}title")]
        assert titles == ["A dock", "A boat", 'a < b & \ufffd "c"', "Home", "Cut"]
        arrows = [path for path in root.findall(f"{name}path") if path.get("marker-end")]
        assert len(arrows) == 4
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        for box in root.iter(f"{name}rect"):
            assert float(box.get("x", 0)) + float(box.get("width", 0)) <= width
            assert float(box.get("y", 0)) + float(box.get("height", 0)) <= height

    def test_of_a_thousand_scenes_in_a_chain(self, read: Callable[[str], Story]):
        """Deeper than Python's stack."""
        chain = "".join(f'[[scene]]\nname = "s{number}"\nprompt = "x"\n' for number in range(2000))
        story = read(DOCK + chain)
        assert len(graph_text(story).split("\n")) == 2001
        assert ET.fromstring(graph_svg(story)) is not None


class TestSchema:
    schema = json_schema()
    check = jsonschema.Draft202012Validator(schema)

    def test_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)
        assert self.schema["$id"] == "story.schema.json"
        assert "null" not in json.dumps(self.schema)  # TOML has none

    def test_accepts_the_contracts_story(self):
        self.check.validate(tomllib.loads(SHOWN))

    def test_accepts_the_starter_and_writes_itself_beside_it(self, tmp_path: Path):
        path = write_starter(tmp_path / "new")
        assert json.loads((tmp_path / "new" / "story.schema.json").read_text()) == self.schema
        self.check.validate(tomllib.loads(path.read_text()))
        assert len(read_story(path).scenes) == 3
        assert (files("storyboard.starter") / "story.toml").read_bytes() == path.read_bytes()

    @pytest.mark.parametrize("after", ["", "[look]", "[[scene]]", "[finish]", "[recipe.mine]"])
    def test_rejects_unknown_keys_in_every_table(self, after: str):
        lines = SHOWN.split("\n")
        where = next(i for i, line in enumerate(lines) if line.startswith(after)) + 1
        lines.insert(where, "unheard = 1")
        with pytest.raises(jsonschema.ValidationError, match="'unheard' was unexpected"):
            self.check.validate(tomllib.loads("\n".join(lines)))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("crf = 16", "crf = 60"),
            ("seconds = 5", 'seconds = "5"'),
            ('fit     = "cover"', 'fit = "stretch"'),
            ('["mouth-movement"]', '["rain"]'),
            ('name   = "boat"', 'name = "the boat"'),
            ("high = 1.0", "strength = 1.0"),
            ('"rife", factor', '"riff", factor'),
            ('prompt = "A rowing boat leaves the dock"', ""),
        ],
    )
    def test_rejects_what_reading_does(self, old: str, new: str):
        assert old in SHOWN
        with pytest.raises(jsonschema.ValidationError):
            self.check.validate(tomllib.loads(SHOWN.replace(old, new)))

    def test_describes_every_key_to_editors(self):
        for table in self.schema["$defs"].values():
            for key, said in table["properties"].items():
                assert {"description", "$ref", "enum"} & said.keys() or key in ("vae", "text_encoder", "high", "low"), (
                    key
                )


class TestNewSeed:
    """A seed is written into the story as its author would, and nothing else changes."""

    @pytest.mark.parametrize(
        "marked",
        [
            '[[scene]]\nname = "a"<|\nseed = 9>\n',
            '[[scene]]\nname = "a"<|\nseed = 9>',
            '[[scene]]\nname   = "a" # first<|\nseed   = 9>\nimage  = "x"\n',
            '[[scene]]\n  name="a"<|\n  seed=9>\n',
            '[[scene]]\n\tname\t=\t"a"<|\n\tseed\t=\t9>\n',
            '[[scene]]\r\nname = "a"<|\r\nseed = 9>\r\nprompt = "x"\r\n',
            '[[scene]]\nname = "a"<|\nseed = 9>\n\n# of b\n[[scene]]\nname = "b"\n',
            '[[scene]]\nname = "a"\nseed = <7|9>  # mine\n',
            '[[scene]]\nseed=<0x10|9>\nname = "a"\n',
            "[[scene]]\n\"name\" = 'a'<|\nseed = 9>\n",
            '[["scene"]]\n"n\\u0061me" = "a"\n"se\\u0065d" = <1|9>\n',
            '[[scene]]\nname = """\na"""  # long<|\nseed = 9>\nx = 1\n',
            '[[scene]]\nprompt = """\nname = "a"\n"""\nname = "a"<|\nseed = 9>\n',
            'scene = [{ name = "a"<|, seed = 9>, x = 1 }]\n',
            'scene = [\n  {name="a"<|, seed=9>}, # one\n]\n',
            'scene = [{ name = "a", seed = <1|9> }]\n',
            '[[scene]]\nname = "a"<|\nseed = 9>\n[[scene.loras]]\nfile = "x"\n',
            '[look]\nseed = 1\n[[scene]]\nname = "b"\n[x]\n[[scene]]\nname = "a"<|\nseed = 9>\n',
            '[[scene]]\nname = "a" # \u2028 \x85<|\nseed = 9>\n',
            'scene = [{ name = "b", "seed" = 1 }, { "name" = "a"<|, seed = 9> }]',
        ],
    )
    def test_layout_is_kept(self, marked: str):
        """<old|new> marks what changes."""
        marks = r"<([^|]*)\|([^>]*)>"
        assert with_seed(re.sub(marks, r"\1", marked), "a", 9) == re.sub(marks, r"\2", marked)

    def test_scene_must_be_there(self):
        with pytest.raises(KeyError):
            with_seed(DOCK, "boat", 1)
        with pytest.raises(KeyError):
            with_seed("title = 'x'", "boat", 1)
        with pytest.raises(ValueError, match="Invalid"):
            with_seed("title = ", "boat", 1)

    def test_file_keeps_its_mark_ends_and_permissions(self, folder: Path):
        path = folder / "story.toml"
        path.write_bytes(b"\xef\xbb\xbf" + DOCK.replace("\n", "\r\n").encode())
        path.chmod(0o640)
        link = folder / "link.toml"
        link.symlink_to(path)
        write_seed(link, "dock", 5)
        expected = DOCK.replace('name = "dock"\n', 'name = "dock"\nseed = 5\n').replace("\n", "\r\n")
        assert path.read_bytes() == b"\xef\xbb\xbf" + expected.encode()
        assert path.stat().st_mode & 0o777 == 0o640
        assert link.is_symlink()
        assert sorted(p.name for p in folder.glob(".*")) == []
        assert read_story(path).scenes[0].seed == 5

    def test_a_file_that_cannot_be_written_is_named_with_the_seed(self, folder: Path):
        said = r'scene "dock": its new seed, 5, was not written: '
        with pytest.raises(StoryError, match=said + r"the file cannot be written \(No such file or directory\)$"):
            write_seed(folder / "gone.toml", "dock", 5)
        (folder / "story.toml").write_text(BOAT)
        with pytest.raises(StoryError, match=said + "the scene cannot be found in the file any more$"):
            write_seed(folder / "story.toml", "dock", 5)
        (folder / "story.toml").write_text("[[scene")
        with pytest.raises(StoryError, match=said):
            write_seed(folder / "story.toml", "dock", 5)

    @settings(deadline=None, max_examples=150, derandomize=True, database=None)
    @given(data=st.data())
    def test_nothing_but_the_seed_changes(self, data: st.DataObject):
        text, names = data.draw(laid_out())
        name = data.draw(st.sampled_from(names))
        seed = data.draw(st.integers(0, 2**63 - 1))
        changed = with_seed(text, name, seed)
        expected = tomllib.loads(text)
        next(scene for scene in expected["scene"] if scene["name"] == name)["seed"] = seed
        assert tomllib.loads(changed) == expected
        assert without_seeds(changed) == without_seeds(text)
        assert with_seed(changed, name, seed) == changed


def without_seeds(text: str) -> str:
    return re.sub(r",? ?\bseed *= *\d+(\r?\n *)?", "", text).replace("\n", "").replace("\r", "").replace(" ", "")


COMMENTS = st.sampled_from(["", "  # a comment", ' # seeds, "quotes" and = [signs]', "\t#"])
STRINGS = st.sampled_from(['"x"', "'x'", '"""\nname = "a"\n"""', "'''\n[[scene]]\n'''", '"嵐 # no comment"', '""'])


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A story laid out in some way its author may like, and the names of its scenes."""
    names = draw(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), min_size=1, max_size=4, unique=True))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    blocks = [draw(scene_laid_out(name)) for name in names]
    around = draw(st.sampled_from(["[look]\nseed = 1\n", "[finish]\nfilm = 'seed = 2.mp4'\n", "# seed\n", ""]))
    where = draw(st.integers(0, len(blocks)))
    if where == 0 or not around.startswith("#"):
        blocks.insert(where, around)
    text = draw(st.sampled_from(["", "\n", "\n\n"])).join(blocks)
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", newline), names


@st.composite
def scene_laid_out(draw: st.DrawFn, name: str) -> str:
    equals = draw(st.sampled_from(["=", " = ", "   = "]))
    indent = draw(st.sampled_from(["", "  "]))
    keys = {"name": json.dumps(name), "prompt": draw(STRINGS)}
    if draw(st.booleans()):
        keys["seed"] = str(draw(st.integers(0, 99)))
    if draw(st.booleans()):
        keys["loras"] = "[\n  { file = 'a', high = 1 }, # one\n  { file = 'b' },\n]"
    lines = [f"{indent}{key}{equals}{keys[key]}{draw(COMMENTS)}" for key in draw(st.permutations(list(keys)))]
    if draw(st.booleans()) and "loras" not in keys:
        lines += [f"{indent}[[scene.loras]]", f'{indent}file = "c"{draw(COMMENTS)}']
    return "\n".join([f"{indent}[[scene]]{draw(COMMENTS)}", *lines]) + "\n"
