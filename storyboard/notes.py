"""What a story asks for that will have no effect, or another than it seems."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from scenes.camera import named_move
from scenes.shot import MachineLacks, Shot
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.tokenizer import LENGTH, token_counts
from scenes.wan.weights import Located
from storyboard.gear import Gear
from storyboard.model_files import who
from storyboard.story import LoraUse, Scene, Story

LATIN = 0x24F  # the last of Unicode's Latin Extended-B


def story_notes(story: Story) -> tuple[str, ...]:
    if story.fps == story.model.fps:
        return ()
    return (f"clips play at {story.fps} frames a second; {story.model.name} draws motion for {story.model.fps}",)


def scene_notes(scene: Scene, gear: Gear) -> tuple[str, ...]:
    notes: list[str] = []
    if scene.asked_frames != scene.frames:
        notes.append(f"{scene.asked_frames:g} frames asked, {scene.frames} made (4n+1)")
    if scene.frames > 121:
        notes.append("long clips tend to return to their first pose: chain two scenes instead")
    drawing = gear.drawing(scene)
    return (*notes, *(_draft_notes(scene) if drawing is None else (*drawing.notes, *_caption_note(scene))))


def render_notes(story: Story, gear: Gear, shots: Mapping[str, Shot], names: Collection[str]) -> list[str]:
    """What comes out otherwise than asked for in the scenes to be rendered, each once; none of a draft."""
    if gear.drawings is None:
        return []
    said: dict[str, list[str]] = {}
    long = long_prompts({name: shot for name, shot in shots.items() if name in names}, gear.drawings.located)
    for scene in story.scenes:
        if scene.name in names:
            notes = gear.drawings.scenes[scene.name].notes
            for note in (*notes, *([long[scene.name]] if scene.name in long else [])):
                said.setdefault(note, []).append(scene.name)
    return [f"{who(scenes)}{note}" for note, scenes in said.items()]


def _draft_notes(scene: Scene) -> list[str]:
    notes: list[str] = []
    if scene.negative_prompt:
        notes.append("a draft has no use for the negative prompt")
    if scene.camera and named_move(scene.camera) is None:
        notes.append(f'a draft knows no camera move in "{scene.camera}"')
    if scene.caption and any(ord(letter) > LATIN for letter in scene.prompt):
        notes.append("the captions' font has Latin letters only: others show as boxes")
    return notes


def _caption_note(scene: Scene) -> list[str]:
    return ["captions are for drafts only"] if scene.caption else []


def lora_said(use: LoraUse, experts: int) -> str:
    """A LoRA's files and strengths on both experts, in a few words."""
    if experts == 1:
        return f"{use.high_file} at {use.high:g}"
    if use.high_file == use.low_file:
        return f"{use.high_file} at {use.high:g} high, {use.low:g} low"
    parts = [(use.high_file, f"{use.high:g} high"), (use.low_file, f"{use.low:g} low")]
    return ", ".join(f"{name} at {strength}" for name, strength in parts if name)


def long_prompts(shots: Mapping[str, Shot], located: Located | None) -> dict[str, str]:
    """A note for each scene whose prompts are longer than the model reads; none where no tokenizer is here to tell."""
    if located is None:
        return {}
    texts = {name: (shot.prompt, shot.negative_prompt or "") for name, shot in shots.items()}
    try:
        encoder = read_checkpoint(located.text_encoder)
        counts = token_counts([text for pair in texts.values() for text in pair if text], encoder, located.tokenizer)
    except (CheckpointError, MachineLacks):
        return {}
    notes: dict[str, str] = {}
    for name, pair in texts.items():
        long = [
            f"{what} has {counts[text]} tokens"
            for what, text in zip(("the prompt", "the negative prompt"), pair, strict=True)
            if text and counts[text] > LENGTH
        ]
        if long:
            notes[name] = f"{', '.join(long)}: the model reads the first {LENGTH}, what comes after has no effect"
    return notes
