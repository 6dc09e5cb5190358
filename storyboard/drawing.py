"""How WAN draws a story's scenes on this machine: its weights, recipes and LoRAs, found and known by their digests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenes.shot import Lora
from scenes.wan.families import LoraFamily, family_of
from scenes.wan.models import RECIPES
from scenes.wan.named import NamedRecipe, find_loras, named_recipe
from scenes.wan.recipes import Recipe, RecipeError, divided, nag_for, recipe
from scenes.wan.renderer import Wan
from scenes.wan.weights import Located, Weights
from storyboard.memory import Memory
from storyboard.model_files import ModelFiles, missing_lora
from storyboard.sampling import spec_of
from storyboard.story import LoraUse, Sampling, Scene, Story, Tuned


@dataclass(frozen=True, slots=True)
class Drawing:
    """How one scene is drawn. `negative_prompt`: None where it would not act. `notes`: what a person should know."""

    renderer: Wan
    negative_prompt: str | None
    loras: tuple[Lora, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawings:
    """`located`: the files that serve the model, None where some are missing. `lacks`: what is, with the remedies."""

    scenes: Mapping[str, Drawing]
    located: Located | None
    lacks: tuple[str, ...]


def drawings_of(
    story: Story, names: Collection[str], folders: Sequence[Path], memory: Memory, say: Callable[[str], None]
) -> Drawings:
    """Of the named scenes; nothing is raised for what is missing, whose digests then match nothing that is kept."""
    files = ModelFiles(story, folders, memory, say)
    weights = files.weights()
    scenes = [scene for scene in story.scenes if scene.name in names]
    drawn = {scene.name: Draughtsman(story, scene, files, weights).drawing() for scene in scenes}
    return Drawings(drawn, files.located, files.lacks())


class Draughtsman:
    """Works out one scene's drawing."""

    def __init__(self, story: Story, scene: Scene, files: ModelFiles, weights: Weights) -> None:
        self._story, self._scene, self._files, self._weights = story, scene, files, weights
        self._notes: list[str] = []

    def drawing(self) -> Drawing:
        story, scene = self._story, self._scene
        sampled = self._recipe()
        loras = tuple(lora for use in scene.loras for lora in self._loras(use))
        if sampled.loras:
            self._note_second_acceleration(loras)
        if scene.negative_prompt and not sampled.negative_acts:
            self._notes.append(self._no_effect())
        renderer = Wan(story.fps, story.model.name, self._weights, sampled, story.precision, story.vae)
        negative = scene.negative_prompt if scene.negative_prompt and sampled.negative_acts else None
        return Drawing(renderer, negative, loras, tuple(self._notes))

    def _recipe(self) -> Recipe:
        """Checked as the story was read: only what is missing on this machine can be wrong."""
        scene, model = self._scene, self._story.model
        own: Sampling | None = dict(self._story.recipes).get(scene.recipe)
        if own is not None:
            loras = tuple(lora for use in own.loras for lora in self._loras(use))
            return recipe(spec_of(own), loras, model, nag_for(own.nag, False, scene.negative_prompt))
        named = named_recipe(scene.recipe, model)
        tuned = dict(self._story.tuned).get(scene.recipe, Tuned())
        nag = nag_for(tuned.nag, named.nag, scene.negative_prompt)
        return recipe(named.spec, self._its_loras(named, tuned), model, nag)

    def _its_loras(self, named: NamedRecipe, tuned: Tuned) -> tuple[Lora, ...]:
        """The acceleration LoRA of a recipe of ours: as the story names it, else as the weights folders hold it."""
        family = named.family
        if family is None:
            return ()
        if tuned.loras:
            return tuple(lora for use in tuned.loras for lora in self._made_for(named, family, use))
        there = self._files.lora_files
        try:
            found = find_loras(named, there)
        except RecipeError as error:
            remedy = f"or name it: [recipe.{named.name}] loras = [{{ {_asked(family)} }}]"
            self._files.lack(f"{error}, {remedy}", self._scene.name)
            missing = missing_lora(family.name)
            return divided(missing, missing, named.strengths)
        assert found is not None  # it has a family
        if found.warning is not None:
            self._notes.append(found.warning)
        high, low = (self._files.lora_at(there[name], self._scene.name) for name in (found.high, found.low))
        return divided(high, low, named.strengths)

    def _made_for(self, named: NamedRecipe, family: LoraFamily, use: LoraUse) -> tuple[Lora, ...]:
        for name in dict.fromkeys(filter(None, (use.high_file, use.low_file))):
            other = family_of(name)
            if other is not None and other is not family:
                self._notes.append(
                    f"recipe {named.name} was made for {family.title}: with {Path(name).name} ({other.title}) "
                    "motion and colours come out differently"
                )
        return self._loras(use)

    def _loras(self, use: LoraUse) -> tuple[Lora, ...]:
        """A LoRA's one file for both experts, or one for each; at strength 0 it is not there."""
        low = use.low if self._story.model.experts > 1 else 0.0
        if use.high_file == use.low_file:
            if not (use.high or low):
                return ()
            file = self._files.lora(use.high_file, self._scene.name)
            return (Lora(file.digest, use.high, low, file.path),)
        found: list[Lora] = []
        if use.high_file and use.high:
            file = self._files.lora(use.high_file, self._scene.name)
            found.append(Lora(file.digest, use.high, 0.0, file.path))
        if use.low_file and low:
            file = self._files.lora(use.low_file, self._scene.name)
            found.append(Lora(file.digest, 0.0, low, file.path))
        return tuple(found)

    def _note_second_acceleration(self, loras: Sequence[Lora]) -> None:
        for name in dict.fromkeys(lora.path.name for lora in loras if family_of(lora.path.name) is not None):
            self._notes.append(f"{name} accelerates, and recipe {self._scene.recipe} brings a LoRA that does: drop one")

    def _no_effect(self) -> str:
        name = self._scene.recipe
        remedy = "drop nag = false" if name in RECIPES else "write nag = true, or a cfg above 1,"
        return f"the negative prompt has no effect at cfg 1: {remedy} in [recipe.{name}]"


def _asked(family: LoraFamily) -> str:
    return 'high_file = "...", low_file = "..."' if family.divided else 'file = "..."'
