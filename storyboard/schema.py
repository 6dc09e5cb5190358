"""The story file as its author writes it: every key, its type and its range; the JSON Schema comes from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field

from post.weights import PUBLISHED
from scenes.wan.models import MODELS, RECIPES
from storyboard.finish_table import FinishTable
from storyboard.limits_table import SeamsTable
from storyboard.seams import PATTERN as SEAM_PATTERN
from storyboard.table import NAME_PATTERN, Cfg, Frames, Left, Seconds, Seed, Strength, Table, Text


class LoraTable(Table):
    """A LoRA and its strengths on the two experts."""

    file: Text | None = Field(default=None, description="LoRA file, beside the story or in a weights folder")
    high_file: Text | None = Field(default=None, description="for the high-noise expert, where the two differ")
    low_file: Text | None = Field(default=None, description="for the low-noise expert, where the two differ")
    high: Strength = Field(default=1.0, description="strength on the high-noise expert")
    low: Strength = Field(default=1.0, description="strength on the low-noise expert")


class ModelFiles(Table):
    """Weights named file by file."""

    high: Text = Field(description="high-noise expert")
    low: Text = Field(description="low-noise expert")
    vae: Text | None = None
    text_encoder: Text | None = None


class SplitCfg(Table):
    """Guidance on the two experts."""

    high: Cfg = 1.0
    low: Cfg = 1.0


class NagTable(Table):
    """Normalized Attention Guidance in numbers, arXiv 2505.21179."""

    scale: Annotated[float, Field(ge=1, le=30, allow_inf_nan=False)] | None = Field(
        default=None, description="how hard it pushes away from the negative prompt; 1 is not at all"
    )
    tau: Annotated[float, Field(ge=1, le=20, allow_inf_nan=False)] | None = Field(
        default=None, description="how far a feature may grow by it"
    )
    alpha: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="how much of it is blended in"
    )


class RecipeTable(Table):
    """How frames are sampled."""

    sampler: Literal["uni_pc", "euler", "lcm", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde"] = Field(
        default="uni_pc", description="how a step is taken"
    )
    scheduler: Literal["simple", "beta", "normal"] | None = Field(
        default=None, description="how sigmas are spaced; default simple"
    )
    steps: Annotated[int, Field(ge=1, le=200)] | None = Field(default=None, description="default 20")
    shift: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        default=None, description="more spends more steps on motion and layout; default 5"
    )
    sigmas: list[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] | None = Field(
        default=None, description="instead of scheduler, steps and shift: falling, from 1.0"
    )
    cfg: Cfg | SplitCfg | list[Cfg] = Field(default=1.0, description="one number, high and low, or one a step")
    boundary: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="sigma at which the low-noise expert takes over (A14B: 0.9)"
    )
    high_steps: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="instead of boundary: steps on the high-noise expert"
    )
    loras: list[LoraTable] = Field(default=[], description="acceleration LoRAs of this recipe")
    nag: bool | NagTable | None = Field(
        default=None, description="a negative prompt acts at cfg 1 too (Normalized Attention Guidance); default false"
    )


class ColourTable(Table):
    """Colour held along a run of chained scenes."""

    match: Literal["anchor"] = Field(default="anchor", description="what a clip is matched to: its run's first clip")
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1.0, description="how much of what drifted from clip to clip is taken back"
    )
    drift: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.0, description="how much of what drifts within a clip is eased out towards its end"
    )


class SceneLook(Table):
    """What a scene takes from [look] and may have otherwise."""

    recipe: Text | None = Field(
        default=None, description="how it is sampled; default lightning-4", examples=list(RECIPES)
    )
    seconds: Seconds | None = Field(default=None, description="length; taken to 4n+1 frames at the model's rate")
    frames: Frames | None = Field(default=None, description="length in frames; taken to 4n+1, at least 5")
    seed: Seed | None = Field(
        default=None, description="noise seed; a scene without one derives it from this and its name"
    )
    style: str | None = Field(default=None, description="joins every prompt")
    camera: str | None = Field(
        default=None, description="draft: moves the camera; WAN: joins the prompt", examples=["push in"]
    )
    caption: bool | None = Field(default=None, description="draft: name and prompt are shown in the picture")
    fit: Literal["cover", "contain"] | None = Field(
        default=None, description="cover (default) crops a picture to the size, contain pads"
    )
    background: str | None = Field(
        default=None, description="colour under transparent pictures and around contained ones; default white"
    )
    presets: list[str] | None = Field(
        default=None, description="named presets, joined to the prompt; drafts go without"
    )
    negative_prompt: str | None = Field(default=None, description="what to keep out")
    avoid: list[str] | None = Field(default=None, description="named negative presets, joined to the negative prompt")
    loras: list[LoraTable] | None = Field(default=None, description="LoRAs of every scene")
    colour: Literal["none", "anchor"] | ColourTable | None = Field(
        default=None,
        description="anchor: the film's clips are graded to look like the first of their run, scene after scene that "
        "goes on from the one before; none (default) leaves them as drawn",
    )
    trim_end: Left | None = Field(
        default=None, description="frames left out at the end of a clip, as where it freezes; 5 at least must remain"
    )
    hand_on: Text | None = Field(
        default=None,
        description='the frame that the next scene opens on; those after it are left out: "last" (default), or the '
        "sharpest of the last few",
        examples=["last", "sharpest of 5"],
    )


class Look(SceneLook):
    """What every scene starts from."""

    model: Text | ModelFiles = Field(
        default="wan2.2-i2v-a14b", description="a model, a folder or files", examples=list(MODELS)
    )
    precision: Literal["fp8", "fp16-accumulate"] | None = Field(
        default=None, description="default: weights as they are"
    )
    vae: Literal["fp32", "bf16"] = Field(default="fp32", description="precision of the VAE")
    size: str = Field(default="832x480", description='width x height, or "auto": the first picture\'s aspect')
    fps: Annotated[int, Field(ge=1, le=120)] | None = Field(
        default=None, description="rate the clips play at; default the model's"
    )


class SceneTable(SceneLook):
    """One clip."""

    name: str = Field(pattern=NAME_PATTERN, max_length=80, description="unique; letters, digits, - and _")
    prompt: Text = Field(description="what happens in the clip")
    image: Text | None = Field(default=None, description="opens on this picture")
    after: Text | None = Field(
        default=None, description="opens on the last frame of that scene; default: the scene above"
    )
    end_image: Text | None = Field(default=None, description="ends on this picture (first-last-frame)")
    end_on: Text | None = Field(default=None, description="ends on that scene's opening picture: a join, a loop")
    hold: Text | None = Field(
        default=None,
        description="the frame it ends on, pixel for pixel, as `render --hold` keeps it: a picture of the clips' size; "
        "in place of end_image and end_on",
        examples=["held/boat.png"],
    )
    seam: str = Field(
        default="cut",
        description="what is drawn over the cut before this scene: a dissolve mixes it with the end of the one before "
        "and makes the film shorter by as much (0.5s, unless a time is named); a fade goes into a colour in half of "
        "its time and comes out of it in the other half, on the first scene in all of it (1s)",
        examples=["dissolve 0.5s", "fade black 1s"],
        json_schema_extra={"pattern": SEAM_PATTERN},
    )


class StoryTable(Table):
    """A story: scenes become clips, clips become a film."""

    title: str = Field(default="", description="the film's title")
    look: Look = Look()
    scene: list[SceneTable] = Field(min_length=1, description="the scenes, in play order")
    finish: FinishTable = FinishTable()
    recipe: dict[str, RecipeTable] = Field(default={}, description="recipes of this story, by name")
    seams: SeamsTable = SeamsTable()


def json_schema() -> dict[str, Any]:
    """JSON Schema of story files, for editors."""
    from storyboard.presets import CAMERAS, NEGATIVES, POSITIVES

    schema: dict[str, Any] = _tidied(StoryTable.model_json_schema())
    for table in ("Look", "SceneTable"):
        keys = schema["$defs"][table]["properties"]
        keys["camera"]["examples"] = list(CAMERAS)
        keys["avoid"]["items"] = {"enum": list(NEGATIVES)}
        keys["presets"]["items"] = {"enum": list(POSITIVES)}
    schema["$defs"]["UpscaleTable"]["properties"]["model"]["examples"] = ["lanczos", "none", *PUBLISHED]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "story.schema.json", **schema}


def _tidied(part: Any) -> Any:
    """Without null, which TOML does not have, and without titles that repeat a key."""
    if isinstance(part, list):
        return [_tidied(item) for item in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidied(value) for key, value in cast("dict[str, Any]", part).items()}
    if isinstance(tidy.get("title"), str):
        del tidy["title"]
    if "default" in tidy and (tidy["default"] in (None, []) or "$ref" in tidy):
        del tidy["default"]
    kinds = [kind for kind in tidy.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        tidy = {**kinds[0], **{key: value for key, value in tidy.items() if key != "anyOf"}}
    elif kinds:
        tidy["anyOf"] = kinds
    return tidy
