"""Stories for WAN, planned and walked with tiny weights in ComfyUI's folders; a stand-in for the model draws."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenes.files import read_still
from scenes.footage import Frames
from scenes.shot import Machine, MachineLacks, Shot, Tell
from scenes.wan.recipes import Nag
from scenes.wan.renderer import Wan
from storyboard.events import Event, Events
from storyboard.options import Options
from storyboard.plan import Plan, plan_of
from storyboard.plan_text import plan_lines
from storyboard.production import Outcome, produce
from storyboard.progress import sentence
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import Store
from storyboard.story import read_story
from tests.stories import PLAIN, scene, write_picture, write_story
from tests.tiny_wan import LIGHTNING, lora, write_comfy_5b, write_comfy_folder, write_safetensors

torch.set_num_threads(1)
HIGH, LOW = (f"{LIGHTNING}_{side}_noise.safetensors" for side in ("high", "low"))
LIGHTX2V = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, beside each other as people have them."""
    folder = write_comfy_folder(tmp_path_factory.mktemp("published") / "models")
    return write_comfy_5b(folder)


@pytest.fixture
def models(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to spoil, and nothing else that could be found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hub"))
    return Path(shutil.copytree(published, tmp_path / "models"))


@dataclass
class FakeStudio:
    """Fades from the opening towards a colour of the seed's own. Counts what is asked of it."""

    log: list[str] = field(default_factory=list[str])
    problem: Exception | None = None
    fails: str = ""

    @property
    def made(self) -> dict[str, Any]:
        return {"renderer": "fake"}

    def open(self, wan: Wan, shots: Sequence[Shot], machine: Machine) -> FakeStudio:
        self.log.append(f"open {len(shots)}")
        machine.say("memory: all of it")
        return self

    def render(self, shot: Shot, tell: Tell) -> Frames:
        self.log.append(f"render {shot.prompt}")
        if self.problem is not None:
            raise self.problem
        if shot.prompt == self.fails:
            raise ValueError("it would not do")
        opening = read_still(shot.opening[-1]).astype(np.float32)
        for index in range(shot.frames):
            part = index / (shot.frames - 1) / 2
            yield (opening * (1 - part) + part * (shot.seed % 256)).astype(np.uint8)
            tell((index + 1) / shot.frames)

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> FakeStudio:
    fake = FakeStudio()
    monkeypatch.setattr(Wan, "open", lambda wan, shots, machine: fake.open(wan, shots, machine))
    return fake


@dataclass
class Film:
    """A story of WAN's in a folder, as the commands see it."""

    path: Path
    models: Path
    events: list[Event] = field(default_factory=list[Event])

    @property
    def store(self) -> Store:
        return Store(self.path.parent / ".storyboard")

    def options(self, **more: Any) -> Options:
        return Options(False, **{"device": "cpu", "weights": (self.models,), **more})

    def rehearsed(self, **more: Any) -> Rehearsed:
        return rehearse(read_story(self.path), self.store, self.options(**more))

    def plan(self, **more: Any) -> Plan:
        return plan_of(self.rehearsed(**more), self.store)

    def why(self) -> dict[str, str]:
        return {scene.name: scene.why or scene.state for scene in self.plan().scenes}

    def render(self, **more: Any) -> Outcome:
        store = self.store
        self.events.clear()
        with store.in_use():
            events = Events(None, (self.events.append,))
            return produce(read_story(self.path), store, self.options(**more), events)

    @property
    def noted(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "note"]

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new), encoding="utf-8")


LOOK = 'size = "64x48"\nframes = 5\nrecipe = "lightning-4"\n'


@pytest.fixture
def two(tmp_path: Path, models: Path) -> Film:
    """dock -> boat, sampled by lightning-4."""
    folder = tmp_path / "story"
    folder.mkdir()
    write_picture(folder, "dock.png", 1)
    return Film(write_story(folder, scene("dock", image="dock.png"), scene("boat"), look=LOOK), models)


def shot_of(film: Film, name: str) -> Shot:
    return film.rehearsed().crew.shots[name]


def wan_of(film: Film, name: str) -> Wan:
    renderer = shot_of(film, name).renderer
    assert isinstance(renderer, Wan)
    return renderer


class TestPlan:
    def test_says_how_each_scene_is_sampled_and_which_files_serve(self, two: Film):
        plan = two.plan()
        assert plan.lacks == ()
        assert [scene.drawn_by for scene in plan.scenes] == ["lightning-4 (2+2 steps euler)"] * 2
        text = "\n".join(plan_lines(plan))
        for line in (
            "high: wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors (fp8 scaled)",
            "low: wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors (fp8 scaled)",
            "vae: wan_2.1_vae.safetensors (fp32)",
            "text encoder: umt5_xxl_fp8_e4m3fn_scaled.safetensors (fp8 scaled)",
            f"lightning-4: {HIGH}, {LOW}",
        ):
            assert f"  {line}\n" in text
        assert json.dumps(plan.json())

    def test_of_kept_and_changed_and_waiting_scenes(self, two: Film, studio: FakeStudio):
        assert two.why() == {"dock": "never made", "boat": "waits for dock"}
        two.render()
        assert two.why() == {"dock": "kept", "boat": "kept"}
        two.edit("a boat", "a red boat")
        assert two.why() == {"dock": "kept", "boat": "prompt changed"}
        two.edit("a dock", "an old dock")
        assert two.why() == {"dock": "prompt changed", "boat": "prompt changed; waits for dock"}

    @pytest.mark.parametrize(
        ("look", "recipe", "why"),
        [
            ('recipe = "lcm-4"', "", "recipe changed (sampler euler -> lcm, sigmas)"),
            ('recipe = "mine"', "", "recipe changed (sampler euler -> uni_pc, 4 -> 6 steps, LoRA)"),
            ("", "loras = [{ file = 'storm.safetensors', high = 0.5 }]", "recipe changed (LoRA)"),
            ('precision = "fp8"', "", "precision none -> fp8"),
            ('vae = "bf16"', "", "vae fp32 -> bf16"),
            ('negative_prompt = "blur"', "", "negative prompt changed; recipe changed (nag)"),
            ('loras = [{ file = "storm.safetensors" }]', "", "LoRAs changed"),
        ],
    )
    def test_says_why_in_words(self, two: Film, studio: FakeStudio, look: str, recipe: str, why: str):
        write_safetensors(lora(3), two.models / "loras" / "storm.safetensors")
        two.edit(PLAIN, f"{PLAIN}[recipe.mine]\nsteps = 6\n")
        two.render(scenes=frozenset({"dock"}))
        two.edit('recipe = "lightning-4"', look if look.startswith("recipe") else f'recipe = "lightning-4"\n{look}')
        if recipe:
            two.edit("[recipe.mine]", f"[recipe.lightning-4]\n{recipe}\n[recipe.mine]")
        assert two.why()["dock"] == why

    def test_says_which_weights_changed(self, two: Film, studio: FakeStudio):
        two.render()
        vae = two.models / "vae" / "wan_2.1_vae.safetensors"
        whole = vae.read_bytes()
        vae.write_bytes(whole[:-4] + b"\0\0\0\x3f")
        assert two.why() == {"dock": "weights changed (vae)", "boat": "weights changed (vae); waits for dock"}
        vae.unlink()
        assert two.why()["dock"] == "the weights it was made with are not here"
        vae.write_bytes(whole)
        assert two.why() == {"dock": "kept", "boat": "kept"}

    def test_says_that_a_lora_is_gone(self, two: Film, studio: FakeStudio):
        storm = write_safetensors(lora(3), two.models / "loras" / "storm.safetensors")
        two.edit('"a dock"', '"a dock"\nloras = [{ file = "storm.safetensors" }]')
        two.render()
        whole = storm.read_bytes()
        storm.write_bytes(whole[:-4] + b"\0\0\0\x3f")
        assert two.why()["dock"] == "LoRAs changed"
        storm.unlink()
        assert two.why()["dock"] == "a LoRA it is to be made with is not here"
        storm.write_bytes(whole)
        assert two.why()["dock"] == "kept"
        shutil.rmtree(two.models / "loras")
        assert two.why()["boat"] == "the LoRA of its recipe is not here; waits for dock"

    def test_moved_weights_are_the_same_weights(self, two: Film, studio: FakeStudio, tmp_path: Path):
        two.render()
        two.models = two.models.rename(tmp_path / "elsewhere")
        assert two.why() == {"dock": "kept", "boat": "kept"}

    def test_of_the_5b(self, tmp_path: Path, models: Path):
        write_picture(tmp_path, "a.png", 1)
        look = 'size = "64x64"\nframes = 5\nmodel = "wan2.2-ti2v-5b"\n'
        film = Film(write_story(tmp_path, scene("dock", image="a.png"), look=look), models)
        plan = film.plan()
        assert plan.lacks == ()
        assert plan.scenes[0].drawn_by == "quality-40 (40 steps uni_pc)"
        assert plan.weights[0].startswith("expert: wan2.2_ti2v_5B_fp16.safetensors (fp16)")
        assert wan_of(film, "dock").weights.low is None


class TestLacks:
    def test_weights(self, two: Film):
        two.models = two.path.parent / "empty"
        plan = two.plan()
        assert {scene.state for scene in plan.scenes} == {"render", "waits"}
        said = "\n".join(plan.lacks)
        assert "storyboard models pull wan2.2-i2v-a14b" in said
        assert str(two.models) in said
        with pytest.raises(MachineLacks, match=r"storyboard models pull wan2\.2-i2v-a14b"):
            two.render()

    def test_the_recipes_lora(self, two: Film):
        shutil.rmtree(two.models / "loras")
        (lack,) = two.plan().lacks
        assert lack.startswith('scenes "dock" and "boat": recipe lightning-4 needs ')
        assert "storyboard models pull lightning" in lack
        assert '[recipe.lightning-4] loras = [{ high_file = "...", low_file = "..." }]' in lack

    def test_a_scenes_lora_is_lacking_for_that_scene_only(self, two: Film, studio: FakeStudio):
        two.edit('"a boat"', '"a boat"\nloras = [{ file = "storm.safetensors" }]')
        (lack,) = two.plan().lacks
        assert lack.startswith('scene "boat": ')
        assert "storm.safetensors" in lack
        assert two.render(scenes=frozenset({"dock"})).made == {"dock"}
        with pytest.raises(MachineLacks, match=r"storm\.safetensors"):
            two.render()

    def test_a_lora_that_would_not_load_is_told_before_the_start(self, two: Film, studio: FakeStudio):
        state = lora(3)
        wide = {key: tensor.repeat(1, 2) if "lora_down" in key else tensor for key, tensor in state.items()}
        write_safetensors(wide, two.models / "loras" / "wide.safetensors")
        odd = {key.replace("blocks.1", "blocks.39"): tensor for key, tensor in state.items()}
        write_safetensors(odd, two.models / "loras" / "odd.safetensors")
        two.edit('"a boat"', '"a boat"\nloras = [{ file = "wide.safetensors" }, { low_file = "odd.safetensors" }]')
        wrong, unknown = two.plan().lacks
        assert wrong.startswith('scene "boat": ')
        assert "wide.safetensors: diffusion_model.blocks.0" in wrong
        assert wrong.endswith("the LoRA was made for another model")
        assert "odd.safetensors: diffusion_model.blocks.39" in unknown
        with pytest.raises(MachineLacks, match=r"wide\.safetensors"):
            two.render()
        assert studio.log == []
        assert two.render(scenes=frozenset({"dock"})).made == {"dock"}
        two.edit('"wide.safetensors"', '"wide.safetensors", high = 0, low = 0')
        two.edit('"odd.safetensors"', '"odd.safetensors", low = 0')
        assert two.plan().lacks == ()

    def test_a_recipes_lora_that_would_not_load(self, two: Film):
        write_safetensors({f"text_{key}": t for key, t in lora(3).items()}, two.models / "loras" / HIGH)
        (lack,) = two.plan().lacks
        assert lack.startswith('scenes "dock" and "boat": ')
        assert "would not load" in lack

    def test_a_gpu(self, two: Film, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("storyboard.machine.has_gpu", lambda device: False)
        monkeypatch.setattr("storyboard.machine.gpus", list)
        (lack,) = two.plan(device=None).lacks
        assert lack.startswith("WAN needs a CUDA device, and this machine has none")
        assert "--draft" in lack
        assert two.plan(device="cpu").lacks == ()

    @pytest.mark.parametrize("device", ["cuda:x", "cuda:-1", "cuda:99", "tpu"])
    def test_a_device_that_is_none(self, two: Film, device: str):
        plan = two.plan(device=device)
        assert plan.lacks[0].startswith(f"--device {device} is ")
        assert plan.memory is None
        plan = two.plan(finish_on=device)
        assert plan.lacks[0].startswith(f"--finish-on {device} is ")
        assert plan.memory is None

    def test_a_package(self, two: Film, monkeypatch: pytest.MonkeyPatch):
        from post.devices import installed

        monkeypatch.setattr("storyboard.machine.installed", lambda name: "" if name == "diffusers" else installed(name))
        assert two.plan().lacks == ('WAN needs the packages diffusers: pip install "storyboard[wan]"',)

    def test_nothing_where_every_clip_is_kept(self, two: Film, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch):
        """A film is finished otherwise on a machine without a GPU."""
        two.render()
        monkeypatch.setattr("storyboard.machine.has_gpu", lambda device: False)
        two.edit('model = "none" }\ninterpolate', 'model = "lanczos", scale = 2 }\ninterpolate')
        assert two.plan(device=None).lacks == ()
        assert two.render(device=None).joined

    def test_weights_to_know_what_is_rendered(self, two: Film, studio: FakeStudio):
        from storyboard.export import finishes_of

        two.render()
        assert len(finishes_of(two.rehearsed())) == 2
        two.models = two.path.parent / "empty"
        with pytest.raises(MachineLacks, match="which clips are this story's is told by its weights"):
            finishes_of(two.rehearsed())

    def test_nothing_in_a_draft(self, two: Film, monkeypatch: pytest.MonkeyPatch):
        def never(*args: object) -> None:
            raise AssertionError("a draft looks for no weights")

        monkeypatch.setattr("storyboard.gear.drawings_of", never)
        assert rehearse(read_story(two.path), two.store, Options(True)).lacks == ()


class TestRecipes:
    def test_lora_named_by_its_files(self, two: Film):
        for side, name in (("high", HIGH), ("low", LOW)):
            (two.models / "loras" / name).rename(two.models / "loras" / f"fast_{side}.safetensors")
        files = 'loras = [{ high_file = "fast_high.safetensors", low_file = "fast_low.safetensors" }]'
        two.edit(PLAIN, f"{PLAIN}[recipe.lightning-4]\n{files}\n")
        assert two.plan().lacks == ()
        recipe = wan_of(two, "dock").recipe
        assert [file.path.name for file in recipe.loras] == ["fast_high.safetensors", "fast_low.safetensors"]
        assert [step.loras for step in recipe.steps] == [(1, 0), (1, 0), (0, 1), (0, 1)]
        assert two.plan().scenes[0].notes == ()

    def test_strengths_of_ours_stay_unless_written(self, two: Film):
        write_safetensors(lora(3), two.models / "loras" / "fast.safetensors")
        two.edit('"lightning-4"', '"motion-6"')
        two.edit(PLAIN, f'{PLAIN}[recipe.motion-6]\nloras = [{{ file = "fast.safetensors" }}]\n')
        assert [step.loras for step in wan_of(two, "dock").recipe.steps] == [(3,), (3,), (3,), (1,), (1,), (1,)]
        two.edit('file = "fast.safetensors"', 'file = "fast.safetensors", high = 2')
        assert wan_of(two, "dock").recipe.steps[0].loras == (2,)

    def test_another_family_is_noted(self, two: Film):
        two.edit('"lightning-4"', '"motion-6"')
        (note,) = two.plan().scenes[0].notes
        assert note.startswith("recipe motion-6 was made for the undivided Wan 2.1 I2V")
        write_safetensors(lora(3), two.models / "loras" / LIGHTX2V)
        assert two.plan().scenes[0].notes == ()
        two.edit(PLAIN, f'{PLAIN}[recipe.motion-6]\nloras = [{{ high_file = "{HIGH}", low_file = "{LOW}" }}]\n')
        notes = two.plan().scenes[0].notes
        assert [note.split(": with ")[1].split(" (")[0] for note in notes] == [HIGH, LOW]

    def test_a_file_for_the_other_expert_is_noted(self, two: Film):
        text = two.path.read_text()
        for use, notes in (
            (f'{{ file = "{HIGH}" }}', [f"{HIGH} is for the high-noise expert by its name and works on the low-noise"]),
            (f'{{ file = "{HIGH}", low = 0 }}', []),
            (f'{{ high_file = "{LOW}" }}', [f"{LOW} is for the low-noise expert by its name and works on the high-"]),
            (f'{{ high_file = "{HIGH}", low_file = "{LOW}" }}', []),
        ):
            two.path.write_text(text.replace('"a dock"', f'"a dock"\nloras = [{use}]'))
            found = [note for note in two.plan().scenes[0].notes if "by its name" in note]
            assert [note[: len(said)] for note, said in zip(found, notes, strict=True)] == notes

    def test_noise_that_is_left_is_noted(self, two: Film):
        two.edit('"lightning-4"', '"mine"')
        two.edit(PLAIN, f"{PLAIN}[recipe.mine]\nsigmas = [1.0, 0.9, 0.6]\n")
        assert two.plan().scenes[0].notes == ("the sigmas of mine end at 0.6, not 0: noise is left in the clip",)
        two.edit("0.6]", "0.6, 0.0]")
        assert two.plan().scenes[0].notes == ()

    def test_of_the_storys_own(self, two: Film):
        write_safetensors(lora(3), two.models / "loras" / "fast.safetensors")
        own = 'sampler = "dpmpp_2m"\nsteps = 2\ncfg = [3.0, 1.0]\nloras = [{ file = "fast.safetensors", high = 2.0 }]'
        two.edit('"lightning-4"', '"mine"')
        two.edit(PLAIN, f"{PLAIN}[recipe.mine]\n{own}\nhigh_steps = 1\n")
        recipe = wan_of(two, "dock").recipe
        assert recipe.sampler == "dpmpp_2m"
        assert [(step.expert, step.cfg, step.loras) for step in recipe.steps] == [("high", 3, (2,)), ("low", 1, (1,))]
        assert two.plan().scenes[0].drawn_by == "mine (1+1 steps dpmpp_2m)"


class TestNegatives:
    def negative(self, film: Film, recipe: str, more: str = "") -> tuple[str | None, Nag | None, tuple[str, ...]]:
        film.edit('"lightning-4"', f'"{recipe}"\nnegative_prompt = "blurry"')
        film.edit(PLAIN, PLAIN + more)
        shot, notes = shot_of(film, "dock"), film.plan().scenes[0].notes
        assert isinstance(shot.renderer, Wan)
        return shot.negative_prompt, shot.renderer.recipe.nag, notes

    def test_act_in_few_steps_by_nag(self, two: Film):
        assert self.negative(two, "lightning-4") == ("blurry", Nag(), ())

    def test_act_by_cfg(self, two: Film):
        assert self.negative(two, "quality-40") == ("blurry", None, ())

    def test_nag_is_nothing_without_a_negative_prompt(self, two: Film):
        assert wan_of(two, "dock").recipe.nag is None
        assert shot_of(two, "dock").negative_prompt is None

    def test_nag_may_be_put_off(self, two: Film):
        negative, nag, notes = self.negative(two, "lightning-4", "[recipe.lightning-4]\nnag = false\n")
        assert (negative, nag) == (None, None)
        assert notes == ("the negative prompt has no effect at cfg 1: drop nag = false in [recipe.lightning-4]",)

    def test_nag_in_numbers(self, two: Film):
        asked = "[recipe.lightning-4]\nnag = { scale = 5, alpha = 0.5 }\n"
        assert self.negative(two, "lightning-4", asked) == ("blurry", Nag(5.0, 2.5, 0.5), ())

    def test_no_effect_in_a_recipe_of_the_storys_own(self, two: Film):
        negative, nag, notes = self.negative(two, "mine", "[recipe.mine]\nsteps = 4\n")
        assert (negative, nag) == (None, None)
        assert notes == (
            "the negative prompt has no effect at cfg 1: write nag = true, or a cfg above 1, in [recipe.mine]",
        )

    def test_nag_without_a_step_for_it_is_noted(self, two: Film):
        _, nag, notes = self.negative(two, "quality-40", "[recipe.quality-40]\nnag = true\n")
        assert (nag, notes) == (None, ("nag has no effect in quality-40: no step of it is at cfg 1",))

    def test_nag_in_a_recipe_of_the_storys_own(self, two: Film):
        assert self.negative(two, "mine", "[recipe.mine]\nsteps = 4\nnag = true\n") == ("blurry", Nag(), ())


class TestPrompts:
    def test_style_presets_and_camera_join(self, two: Film):
        from storyboard.presets import POSITIVES

        two.edit('"lightning-4"', '"lightning-4"\nstyle = "35mm film"\npresets = ["waving"]\ncamera = "Push in"')
        assert shot_of(two, "dock").prompt == f"a dock, 35mm film, {POSITIVES['waving']}, the camera pushes in"
        two.edit('"Push in"', '"a slow orbit"')
        assert shot_of(two, "dock").prompt.endswith(", a slow orbit")

    def test_drafts_go_without(self, two: Film):
        two.edit('"lightning-4"', '"lightning-4"\nstyle = "35mm film"\npresets = ["waving"]\ncamera = "push in"')
        draft = rehearse(read_story(two.path), two.store, Options(True)).crew.shots["dock"]
        assert draft.prompt == "a dock, 35mm film"

    def test_every_camera_move_has_words(self):
        from storyboard.presets import CAMERAS
        from storyboard.wording import CAMERAS as WORDS

        assert set(WORDS) == set(CAMERAS)

    def test_too_long_is_noted(self, two: Film):
        two.edit('"a dock"', f'"{"a dock in the mist, " * 200}"')
        (note,) = two.plan().scenes[0].notes
        assert "tokens" in note
        assert "512" in note


class TestLoras:
    def test_of_a_scene(self, two: Film):
        for name in ("a", "b"):
            write_safetensors(lora(ord(name)), two.models / "loras" / f"{name}.safetensors")
        uses = [
            {"file": "a.safetensors", "high": 1.0, "low": 0.8},
            {"high_file": "a.safetensors", "low_file": "b.safetensors", "low": 0.5},
            {"low_file": "b.safetensors"},
            {"file": "a.safetensors", "high": 0, "low": 0},
        ]
        said = ", ".join("{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in use.items()) + " }" for use in uses)
        two.edit('"a dock"', f'"a dock"\nloras = [{said}]')
        found = [(each.path.name[0], each.high, each.low) for each in shot_of(two, "dock").loras]
        assert found == [("a", 1, 0.8), ("a", 1, 0), ("b", 0, 0.5), ("b", 0, 1)]
        assert two.plan().scenes[0].loras == (
            "a.safetensors at 1 high, 0.8 low",
            "a.safetensors at 1 high, b.safetensors at 0.5 low",
            "b.safetensors at 1 low",
            "a.safetensors at 0 high, 0 low",
        )

    def test_a_second_acceleration_is_noted(self, two: Film):
        write_safetensors(lora(3), two.models / "loras" / LIGHTX2V)
        two.edit('"a dock"', f'"a dock"\nloras = [{{ file = "{LIGHTX2V}" }}]')
        assert two.plan().scenes[0].notes == (
            f"{LIGHTX2V} accelerates, and recipe lightning-4 brings a LoRA that does: drop one",
        )

    def test_of_the_5b(self, tmp_path: Path, models: Path):
        write_picture(tmp_path, "a.png", 1)
        write_safetensors(lora(3), tmp_path / "a.safetensors")
        look = (
            'size = "64x64"\nframes = 5\nmodel = "wan2.2-ti2v-5b"\nloras = [{ file = "a.safetensors", high = 0.5 }]\n'
        )
        film = Film(write_story(tmp_path, scene("dock", image="a.png"), look=look), models)
        (found,) = shot_of(film, "dock").loras
        assert (found.high, found.low) == (0.5, 0)
        assert film.plan().scenes[0].loras == ("a.safetensors at 0.5",)


class TestShooting:
    def test_one_studio_for_all_shots_closed_after_the_last(self, two: Film, studio: FakeStudio):
        outcome = two.render()
        assert studio.log == ["open 2", "render a dock", "render a boat", "close"]
        assert outcome.film is not None
        assert two.noted == ["memory: all of it"]

    def test_what_comes_out_otherwise_is_told_once(self, two: Film, studio: FakeStudio):
        two.edit('"lightning-4"', '"motion-6"')
        two.edit('"a boat"', f'"a boat"\nnegative_prompt = "{"blur " * 600}"')
        two.render()
        family, long, memory = two.noted
        assert family.startswith('scenes "dock" and "boat": recipe motion-6 was made for the undivided Wan 2.1')
        assert long.startswith('scene "boat": the negative prompt has ')
        assert memory == "memory: all of it"
        two.render()
        assert two.noted == []

    def test_loading_is_told_apart_from_drawing(self, two: Film, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch):
        def slow(wan: Wan, shots: Sequence[Shot], machine: Machine) -> FakeStudio:
            time.sleep(0.5)
            return studio

        monkeypatch.setattr(Wan, "open", slow)
        two.render()
        seconds = {event["event"]: event["seconds"] for event in two.events if "seconds" in event}
        assert seconds["studio.opened"] >= 0.5
        assert seconds["scene.done"] < 0.5
        assert sentence({"event": "studio.opened", "seconds": 12.34}) == "loaded in 12.3 s"
        assert sentence({"event": "studio.opened", "seconds": 0.1}) is None

    def test_closed_before_finishing_where_the_rest_waits_for_a_failure(
        self, two: Film, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
    ):
        from storyboard import cutting_room

        write = cutting_room.write_segment

        def logged(*args: Any) -> None:
            deadline = time.monotonic() + 5
            while studio.log[-1] != "close" and time.monotonic() < deadline:
                time.sleep(0.01)
            studio.log.append("finish")
            write(*args)

        monkeypatch.setattr(cutting_room, "write_segment", logged)
        two.edit(PLAIN, scene("sea", prompt="a sea") + PLAIN)
        studio.fails = "a boat"
        outcome = two.render(keep_going=True)
        assert (set(outcome.failed), outcome.skipped) == ({"boat"}, {"sea"})
        (failed,) = [event for event in two.events if event["event"] == "scene.failed"]
        assert (failed["scene"], failed["why"], sentence(failed)) == ("boat", "it would not do", "boat: failed")
        assert "ValueError: it would not do" in failed["trace"]  # of what nobody foresaw
        assert studio.log == ["open 3", "render a dock", "render a boat", "close", "finish"]

    @pytest.mark.parametrize("turns", [False, True])
    def test_the_last_clip_waits_for_it_to_be_closed_only_in_turns(
        self, turns: bool, two: Film, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
    ):
        from storyboard import cutting_room, production
        from storyboard.placing import Workplace

        write, finishing = cutting_room.write_segment, threading.Semaphore(0)

        def logged(*args: Any) -> None:
            studio.log.append("finish")
            finishing.release()
            write(*args)

        def close(studio: FakeStudio) -> None:
            for _ in range(1 if turns else 2):  # segments that are begun before it ends
                assert finishing.acquire(timeout=10)
            studio.log.append("close")

        monkeypatch.setattr(production, "workplace", lambda *_: Workplace("cpu", None, turns=turns))
        monkeypatch.setattr(cutting_room, "write_segment", logged)
        monkeypatch.setattr(FakeStudio, "close", close)
        two.render()
        assert studio.log[-2:] == (["close", "finish"] if turns else ["finish", "close"])

    def test_closed_where_the_last_shot_turns_out_to_be_kept(self, two: Film, studio: FakeStudio):
        two.edit('"a dock"', '"a dock"\nseed = 3')
        two.edit('"a boat"', '"a boat"\nseed = 4')
        two.render()
        studio.log.clear()
        two.render(anew=frozenset({"dock"}))
        assert studio.log == ["open 2", "render a dock", "close"]

    def test_what_the_studio_lacks_is_said_as_it_is(self, two: Film, studio: FakeStudio):
        from storyboard.failures import MACHINE, failure
        from storyboard.film import SceneFailed

        studio.problem = MachineLacks("memory ran out even so: fewer frames")
        with pytest.raises(SceneFailed) as failed:
            two.render()
        assert str(failed.value) == 'scene "dock": memory ran out even so: fewer frames'
        assert failure(failed.value) == MACHINE
        assert studio.log == ["open 2", "render a dock", "close"]

    def test_out_of_memory_in_a_clip_names_vram(self, two: Film, studio: FakeStudio):
        class OutOfMemoryError(RuntimeError):
            pass

        studio.problem = OutOfMemoryError("CUDA out of memory")
        with pytest.raises(
            Exception, match="the GPU's memory ran out: close what else uses it, or name a smaller --vram"
        ):
            two.render()

    def test_the_machine_is_as_the_options_say(self, two: Film, monkeypatch: pytest.MonkeyPatch):
        seen: list[Machine] = []
        fake = FakeStudio()
        monkeypatch.setattr(Wan, "open", lambda wan, shots, machine: seen.append(machine) or fake)
        two.render(vram=2**33, ram=2**34, attention="cudnn", compile=False)
        (machine,) = seen
        assert (machine.device, machine.vram, machine.ram) == ("cpu", 2**33, 2**34)
        assert (machine.attention, machine.compile) == ("cudnn", False)
