"""A WAN studio on tiny weights: what it draws, what it loads, and what it does when memory ends."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from scenes.files import write_still
from scenes.footage import Still
from scenes.shot import Lora, Machine, MachineLacks, Shot, Stopped
from scenes.wan import cast, feed, prompts, studio
from scenes.wan.budget import GIB, MemoryPlan, Placement
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.experts import Expert
from scenes.wan.models import I2V_A14B, TI2V_5B, WanModel
from scenes.wan.recipes import LoraFile, Nag, Recipe, Step
from scenes.wan.renderer import Wan
from scenes.wan.studio import WanStudio
from scenes.wan.text import encode_prompts
from scenes.wan.vae import DEVIATIONS, MEANS
from scenes.wan.weights import find_weights, hashed
from tests import tiny_wan
from tests.stories import chart
from tests.test_denoise import scheduler_of

torch.set_num_threads(1)
SIZE = (64, 48)
HIGH, LOW = Step(1.0, "high", 1.0), Step(0.6, "low", 1.0)
OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 12.00 GiB"

Film = np.ndarray
"""uint8 (frames, height, width, 3)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def fp8(folder: Path) -> Wan:
    """I2V-A14B in scaled fp8, with the LoRA of its recipe."""
    models = tiny_wan.write_comfy_folder(folder / "fp8")
    lora = lora_file(models / "loras" / f"{tiny_wan.LIGHTNING}_high_noise.safetensors")
    recipe = Recipe("euler", (replace(HIGH, loras=(1.0,)), replace(LOW, loras=(0.0,))), 0.0, (lora,))
    return wan(models, recipe)


@pytest.fixture(scope="module")
def fp32(folder: Path) -> Wan:
    """I2V-A14B in fp32, which computes as the stock pipeline does."""
    return wan(tiny_wan.write_comfy_folder(folder / "fp32", "fp32", "fp32", loras=False))


@pytest.fixture(scope="module")
def still(folder: Path) -> Still:
    return write_still(chart(*SIZE), folder / "opening.png")


@pytest.fixture(scope="module")
def end(folder: Path) -> Still:
    return write_still(chart(*SIZE, seed=9), folder / "end.png")


def lora_file(path: Path) -> LoraFile:
    return LoraFile(path.name, path)


def wan(models: Path, recipe: Recipe | None = None, model: WanModel = I2V_A14B, **more: Any) -> Wan:
    named = str(models) if (models / "model_index.json").exists() else model.name
    located = find_weights(named, model, models, [models])
    weights = hashed(located, lambda path: path.name)
    given = {"precision": None, "vae": "fp32", **more}
    return Wan(Fraction(model.fps), model.name, weights, recipe or Recipe("euler", (HIGH, LOW)), **given)


def shot(renderer: Wan, opening: Still, prompt: str = "a dock", **more: Any) -> Shot:
    given = {"negative_prompt": None, "seed": 7, "frames": 5, "size": SIZE, "last": None, "loras": (), **more}
    return Shot(prompt=prompt, opening=(opening,), renderer=renderer, **given)


@dataclass
class Told:
    """What a studio says, and a machine that hears it."""

    said: list[str] = field(default_factory=list[str])

    def machine(self, **more: Any) -> Machine:
        return Machine(**{"device": "cpu", "say": self.said.append, **more})


def untold(_: float) -> None:
    """Nobody listens."""


def opened(*shots: Shot, **more: Any) -> WanStudio:
    return WanStudio(shots, Told().machine(**more))


def drawn(by: WanStudio, asked: Shot) -> Film:
    return np.stack(list(by.render(asked, untold)))


@cache
def alone(asked: Shot) -> Film:
    """The shot of a studio that was opened for it; drawn once for all tests."""
    with closing(opened(asked)) as by:
        return drawn(by, asked)


def apart(one: Film, other: Film) -> int:
    """The most levels that two films are apart."""
    return int(np.abs(one.astype(int) - other).max())


# What is drawn is what the stock pipeline draws


def stock(renderer: Wan, asked: Shot, five: bool = False) -> Film:
    """The frames of diffusers' own pipeline, of the same weights, prompt and sigmas."""
    recipe = renderer.recipe
    channels = (48, 48) if five else (36, 16)
    pipe: Any = WanImageToVideoPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=tiny_wan.vae22(6) if five else tiny_wan.vae21(4),
        scheduler=scheduler_of(recipe.sampler, [step.sigma for step in recipe.steps]),
        transformer=tiny_wan.expert(5 if five else 1, channels),
        transformer_2=None if five else tiny_wan.expert(2, channels),
        boundary_ratio=None if five else 0.9,
        expand_timesteps=five,
    )
    channels = pipe.vae.config.z_dim
    pipe.vae.register_to_config(latents_mean=MEANS[channels], latents_std=DEVIATIONS[channels])
    pipe.set_progress_bar_config(disable=True)
    words = [asked.prompt, asked.negative_prompt or ""]
    encoded = encode_prompts(words, read_checkpoint(renderer.weights.text_encoder.path), None, torch.device("cpu"))
    with torch.no_grad():
        made = pipe(
            image=Image.open(asked.opening[-1].path),
            last_image=Image.open(asked.last.path) if asked.last else None,
            prompt_embeds=encoded[words[0]][None],
            negative_prompt_embeds=encoded[words[1]][None],
            height=asked.size[1],
            width=asked.size[0],
            num_frames=asked.frames,
            num_inference_steps=len(recipe.steps),
            guidance_scale=recipe.steps[0].cfg,
            guidance_scale_2=None if five else recipe.steps[-1].cfg,
            generator=torch.Generator().manual_seed(asked.seed),
            output_type="np",
            return_dict=False,
        )[0]
    return (made[0] * 255).round().astype(np.uint8)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_an_a14b_clip_is_the_stock_pipelines(fp32: Wan, still: Still, end: Still, ends: bool, cfg: float) -> None:
    renderer = replace(fp32, recipe=Recipe("euler", (replace(HIGH, cfg=cfg), replace(LOW, cfg=cfg))))
    asked = shot(renderer, still, frames=9, last=end if ends else None, negative_prompt="blurry")
    assert np.array_equal(alone(asked), stock(renderer, asked))


def test_a_5b_clip_is_the_stock_pipelines(folder: Path) -> None:
    models = tiny_wan.write_comfy_5b(folder / "5b", "fp32", "fp32")
    recipe = Recipe("uni_pc", (Step(1.0, "high", 4.0), Step(0.7, "high", 4.0)))
    renderer = wan(models, recipe, TI2V_5B)
    opening = write_still(chart(64, 64), folder / "square.png")
    asked = shot(renderer, opening, size=(64, 64), negative_prompt="blurry")
    found = alone(asked)
    assert found.shape == (5, 64, 64, 3)
    assert np.array_equal(found, stock(renderer, asked, five=True))


def test_the_last_frame_is_the_decoders_own(fp32: Wan, still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[torch.Tensor] = []
    denoise = studio.denoise

    def keeping(*given: Any, **more: Any) -> torch.Tensor:
        kept.append(denoise(*given, **more))
        return kept[-1]

    monkeypatch.setattr(studio, "denoise", keeping)
    found = alone(shot(fp32, still, frames=13))
    vae = tiny_wan.vae21(4)
    mean, spread = (
        torch.tensor(each).view(1, -1, 1, 1, 1) for each in (vae.config.latents_mean, vae.config.latents_std)
    )
    with torch.no_grad():
        whole = vae.decode(kept[0] / (1.0 / spread) + mean, return_dict=False)[0][0]
    frames = ((whole * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    assert np.array_equal(found[-1], frames[-1])
    assert np.array_equal(found, frames)


# Whatever the weights came as


def test_a_diffusers_folder_gives_the_same_clip_as_comfyuis_files(fp32: Wan, still: Still, folder: Path) -> None:
    renderer = wan(tiny_wan.write_diffusers_folder(folder / "diffusers"))
    assert renderer.weights.tokenizer is not None
    assert np.array_equal(alone(shot(renderer, still)), alone(shot(fp32, still)))


def test_gguf_experts_and_a_gguf_text_encoder(fp32: Wan, still: Still, folder: Path) -> None:
    models = tiny_wan.write_comfy_folder(folder / "gguf", "Q8_0", "fp32", loras=False)
    encoder = models / "text_encoders" / "umt5_xxl_fp32.safetensors"
    tiny_wan.write_gguf(
        tiny_wan.llama_text_encoder(tiny_wan.text_encoder(3)),
        encoder.with_name("umt5-xxl-encoder-Q8_0.gguf"),
        "Q8_0",
        "t5encoder",
    )
    (models / "text_encoders" / "tokenizer").mkdir()
    (models / "text_encoders" / "tokenizer" / "spiece.model").write_bytes(tiny_wan.spiece())
    encoder.unlink()
    renderer = wan(models)
    files = (renderer.weights.high, renderer.weights.low, renderer.weights.text_encoder)
    assert [file.path.suffix for file in files if file] == [".gguf"] * 3
    assert 0 < np.abs(alone(shot(renderer, still)).astype(int) - alone(shot(fp32, still))).mean() < 1


def test_a_vae_in_bf16_is_near(fp32: Wan, still: Still) -> None:
    there, here = alone(shot(replace(fp32, vae="bf16"), still)), alone(shot(fp32, still))
    assert 0 < np.abs(there.astype(int) - here).mean() < 2


PLACES = {
    "resident": (Placement(True, "disk"), 0),
    "ram": (Placement(False, "ram"), 0),
    "disk": (Placement(False, "disk"), 0),
    "half": (Placement(False, "disk"), 1),
}


def placed(monkeypatch: pytest.MonkeyPatch, high: str, low: str) -> None:
    """Have the memory plan put the experts there."""
    planned = cast.planned

    def elsewhere(*given: Any) -> tuple[MemoryPlan, Any]:
        plan, needs = planned(*given)
        places, held = zip(PLACES[high], PLACES[low], strict=True)
        return replace(plan, placements=places, held=held), needs

    monkeypatch.setattr(studio, "planned", elsewhere)


@pytest.mark.parametrize(
    ("high", "low"),
    [("resident", "resident"), ("disk", "disk"), ("ram", "disk"), ("half", "ram"), ("resident", "disk")],
)
def test_wherever_weights_lie_the_clip_is_the_same(
    high: str, low: str, fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = shot(fp8, still)
    expected = alone(asked)  # streamed from RAM
    placed(monkeypatch, high, low)
    with closing(opened(asked)) as by:
        assert np.array_equal(drawn(by, asked), expected)
        assert np.array_equal(drawn(by, asked), expected)


# Shots leave nothing behind


def test_a_shot_is_the_same_in_whatever_company_it_comes(fp8: Wan, still: Still, end: Still, folder: Path) -> None:
    path = tiny_wan.write_safetensors(tiny_wan.lora(50), folder / "storm.safetensors")
    storm = Lora("storm", 0.8, 0.3, path)
    two = Recipe("uni_pc", (Step(1.0, "high", 3.0), Step(0.8, "low", 1.0), Step(0.4, "low", 2.0)))
    guided = replace(fp8.recipe, nag=Nag())
    shots = [
        shot(fp8, still),
        shot(replace(fp8, recipe=two), still, "a boat", frames=9, negative_prompt="blurry"),
        shot(fp8, still, loras=(storm,)),
        shot(replace(fp8, recipe=guided), still, negative_prompt="watermark", last=end),
        shot(fp8, still, loras=(replace(storm, high=0.0, low=1.5),), size=(48, 64)),
        shot(replace(fp8, recipe=replace(two, sampler="dpmpp_2m_sde")), still, "a boat", negative_prompt="blurry"),
    ]
    opening = write_still(chart(48, 64), folder / "upright.png")
    shots[4] = replace(shots[4], opening=(opening,))
    expected = [alone(each) for each in shots]
    assert len({each.tobytes() for each in expected}) == len(shots)
    with closing(opened(*shots)) as by:
        for index in (0, 1, 2, 4, 2, 3, 5, 3, 0, 2, 1, 5, 4):
            assert np.array_equal(drawn(by, shots[index]), expected[index]), index


def test_a_stop_or_an_error_leaves_the_studio_as_it_was(
    fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed(monkeypatch, "disk", "disk")
    asked, other = shot(fp8, still), shot(replace(fp8, recipe=Recipe("euler", (HIGH, LOW))), still, frames=9)
    with closing(opened(asked, other)) as by:
        expected = drawn(by, asked)
        for at in (0.0, 0.3, 0.86):

            def stop(done: float, at: float = at) -> None:
                if done >= at:
                    raise Stopped

            with pytest.raises(Stopped):
                list(by.render(other, stop))
            assert np.array_equal(drawn(by, asked), expected)
        broken = iter([None] * 3)  # the fourth block that is read is not
        block = feed.Feed.block

        def failing(*given: Any) -> Any:
            if next(broken, "broken") is not None:
                raise CheckpointError("a drive that failed")
            return block(*given)

        with monkeypatch.context() as within:
            within.setattr(feed.Feed, "block", failing)
            with pytest.raises(CheckpointError, match="a drive"):
                list(by.render(other, untold))
        assert np.array_equal(drawn(by, asked), expected)


def test_a_render_that_is_left_half_way_costs_the_next_one_nothing(fp8: Wan, still: Still) -> None:
    asked = shot(fp8, still, frames=13)
    with closing(opened(asked)) as by:
        expected = drawn(by, asked)
        assert np.array_equal(np.stack(list(islice(by.render(asked, untold), 3))), expected[:3])
        assert np.array_equal(drawn(by, asked), expected)


def open_weights() -> list[str]:
    return [each.path for each in psutil.Process().open_files() if each.path.endswith(".safetensors")]


# Loaded once


@dataclass
class Loads:
    """What was loaded, in order."""

    order: list[str] = field(default_factory=list[str])
    experts: list[Expert] = field(default_factory=list[Expert])


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    seen = Loads()

    def counted(module: Any, name: str, word: Callable[[tuple[Any, ...]], str]) -> None:
        does = getattr(module, name)

        def counting(*given: Any, **more: Any) -> Any:
            seen.order.append(word(given))
            made = does(*given, **more)
            if isinstance(made, Expert):
                seen.experts.append(made)
            return made

        monkeypatch.setattr(module, name, counting)

    counted(cast, "Expert", lambda given: f"expert {given[0].path.name.split('_')[2]}")
    counted(cast, "load_vae", lambda _: "vae")
    counted(cast, "load_lora", lambda given: f"lora {given[0].name}")
    counted(prompts, "encode_prompts", lambda given: f"{len(given[0])} texts")
    counted(studio, "denoise", lambda _: "shot")
    return seen


def test_a_story_loads_everything_once(fp8: Wan, still: Still, folder: Path, loads: Loads) -> None:
    path = tiny_wan.write_safetensors(tiny_wan.lora(51), folder / "sea.safetensors")
    guided = replace(fp8, recipe=replace(fp8.recipe, nag=Nag(), sampler="lcm"))
    shots = [
        shot(fp8, still),
        shot(guided, still, "a boat", negative_prompt="blurry", loras=(Lora("sea", 1.0, 1.0, path),)),
        shot(fp8, still, "a dock", negative_prompt="watermark", seed=8),  # acts nowhere
    ]
    with closing(opened(*shots)) as by:
        # Two prompts and the one negative that acts, before the first step.
        assert loads.order == ["vae", "expert high", "expert low", "3 texts"]
        for each in (*shots, shots[1]):
            drawn(by, each)
        made = by.made
    # Each LoRA once for each expert that it acts on, read with the first shot that it is for.
    assert [each.split()[0] for each in loads.order[4:]] == [
        "lora",
        "shot",
        "lora",
        "lora",
        "shot",
        "shot",
        "shot",
    ]
    assert (made["renderer"], made["device"], made["compiled"]) == ("wan", "cpu", False)
    assert made["memory"].startswith("on the CPU")


def test_the_text_encoder_leaves_memory(fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    from scenes.wan import text

    made: list[weakref.ref[Any]] = []
    one_layer = text._one_layer

    def watched(*given: Any) -> Any:
        layer, norm = one_layer(*given)
        made.extend(weakref.ref(each) for each in (layer, norm))
        return layer, norm

    monkeypatch.setattr(text, "_one_layer", watched)
    with closing(opened(shot(fp8, still))):
        gc.collect()
        assert len(made) == 2
        assert all(each() is None for each in made)


def test_closed_it_holds_no_file_and_no_memory(fp8: Wan, still: Still, loads: Loads) -> None:
    asked = shot(fp8, still)
    with closing(opened(asked)) as by:
        assert open_weights()
        drawn(by, asked)
    assert not open_weights()
    assert all(each.reading.users == 0 and each.slots.users == 0 for each in loads.experts)


def test_what_fails_to_open_is_closed(fp8: Wan, still: Still, loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tokenizer(*_: Any) -> None:
        raise CheckpointError("umt5.safetensors comes without a tokenizer")

    monkeypatch.setattr(studio, "encode_story", no_tokenizer)
    with pytest.raises(CheckpointError, match="tokenizer"):
        opened(shot(fp8, still))
    assert len(loads.experts) == 2
    assert all(each.reading.users == 0 and each.slots.users == 0 for each in loads.experts)
    assert not open_weights()


def test_keys_that_are_left_out_are_told_of_once(fp8: Wan, still: Still, folder: Path) -> None:
    state = tiny_wan.lora(52)
    state["diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight"] = torch.zeros(4, 256)
    state["diffusion_model.blocks.0.cross_attn.k_img.lora_up.weight"] = torch.zeros(256, 4)
    path = tiny_wan.write_safetensors(state, folder / "old.safetensors")
    asked = shot(fp8, still, loras=(Lora("old", 1.0, 1.0, path),))
    told = Told()
    with closing(WanStudio([asked, asked], told.machine())) as by:
        drawn(by, asked)
        drawn(by, asked)
    assert [text for text in told.said if "old" in text] == [
        "old.safetensors: 2 keys have no place in WAN 2.2 and are left out"
    ]


def test_a_lora_that_would_not_load_is_named_and_the_next_shot_is_drawn(fp8: Wan, still: Still, folder: Path) -> None:
    state = tiny_wan.lora(53)
    state["diffusion_model.blocks.0.cross_attn.q.lora_mystery"] = torch.zeros(1)
    path = tiny_wan.write_safetensors(state, folder / "odd.safetensors")
    good, bad = shot(fp8, still), shot(fp8, still, loras=(Lora("odd", 1.0, 1.0, path),))
    expected = alone(good)
    with closing(opened(good, bad)) as by:
        with pytest.raises(CheckpointError, match=r"odd\.safetensors: .*lora_mystery would not load"):
            drawn(by, bad)
        assert np.array_equal(drawn(by, good), expected)


# When memory ends


def ending(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception, after: int | None = None) -> None:
    """Let memory end in this many calls: of the denoiser, or of the decoder after so many latents."""
    left = iter([error] * times)
    if after is None:
        does = studio.denoise

        def denoise(*given: Any, **more: Any) -> Any:
            for each in left:
                raise each
            return does(*given, **more)

        monkeypatch.setattr(studio, "denoise", denoise)
        return
    decodes = studio.decode

    def decode(*given: Any, **more: Any) -> Iterator[Any]:
        whole = decodes(*given, **more)
        for each in left:
            yield from islice(whole, after)
            raise each
        yield from whole

    monkeypatch.setattr(studio, "decode", decode)


@pytest.mark.parametrize(("where", "places"), [(None, "resident"), (0, "ram"), (1, "ram"), (2, "resident")])
def test_out_of_memory_once_is_told_of_and_drawn_leaner(
    where: int | None, places: str, fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = shot(fp8, still, frames=9), Told()
    expected = alone(asked)
    placed(monkeypatch, places, places)
    ending(monkeypatch, 1, torch.OutOfMemoryError(OOM), where)
    with closing(WanStudio([asked], told.machine())) as by:
        parts: list[float] = []
        found = np.stack(list(by.render(asked, parts.append)))
        assert found.shape == expected.shape, "no frame twice, none left out"
        assert apart(found, expected) <= 1
        assert (parts[0], parts[-1]) == (0.0, pytest.approx(1.0)), "who asked to stop is heard before the first step"
        (message,) = [text for text in told.said if "ran out" in text]
        assert message.startswith("the GPU's memory ran out: once more, leaner: ")
        assert "VAE in 2 strips" in message
        assert "VAE in 2 strips" in by.made["memory"]
        again = drawn(by, asked)
        assert apart(again, expected) <= 1
        assert len([text for text in told.said if "ran out" in text]) == 1, "the next one begins lean"


@pytest.mark.parametrize("where", [None, 1])
def test_out_of_memory_twice_is_this_machines_lack(
    where: int | None, fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = shot(fp8, still)
    expected = alone(asked)
    ending(monkeypatch, 2, torch.OutOfMemoryError(OOM), where)
    with closing(opened(asked)) as by:
        with pytest.raises(MachineLacks) as lacking:
            drawn(by, asked)
        said = str(lacking.value)
        assert said.startswith(
            "the GPU's memory ran out (CUDA out of memory) with the plan: on the CPU, weights streamed"
        )
        assert 'Use fewer frames, a smaller size or vae = "bf16"' in said
        assert apart(drawn(by, asked), expected) <= 1, "a smaller shot may fit: the studio goes on"


def test_where_nothing_leaner_is_left_the_first_time_is_the_last(
    fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, 1, torch.OutOfMemoryError(OOM))
    monkeypatch.setattr(studio, "leaner", lambda *_: None)
    asked = shot(fp8, still)
    with closing(opened(asked)) as by:
        with pytest.raises(MachineLacks, match="the GPU's memory ran out"):
            drawn(by, asked)
        drawn(by, asked)


def test_the_libraries_words_for_it_count_too(fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, told = shot(fp8, still), Told()
    ending(monkeypatch, 1, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    with closing(WanStudio([asked], told.machine())) as by:
        drawn(by, asked)
        assert any("once more, leaner" in text for text in told.said)
        for words in ("CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"):
            assert studio._said_of_memory(RuntimeError(words)) == words
        ending(monkeypatch, 1, RuntimeError("CUDA error: an illegal memory access was encountered"))
        with pytest.raises(RuntimeError, match="illegal memory access"):
            drawn(by, asked)


def test_the_leaner_plan_keeps_to_the_ram_that_was_free(
    fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "free_ram", lambda: 3 * GIB)
    placed(monkeypatch, "resident", "resident")
    ending(monkeypatch, 1, torch.OutOfMemoryError(OOM))
    asked, limits = shot(fp8, still), list[Any]()
    does = studio.leaner
    monkeypatch.setattr(studio, "leaner", lambda plan, needs, ram: limits.append(ram) or does(plan, needs, ram))
    with closing(opened(asked)) as by:
        drawn(by, asked)
    assert limits == [3 * GIB], "not all the RAM that could be wished for"


def test_ram_that_is_not_allowed_ends_the_shot(fp8: Wan, still: Still) -> None:
    asked = shot(fp8, still)
    used = psutil.Process().memory_info().rss
    with (
        closing(opened(asked, ram=used // 2)) as by,
        pytest.raises(MachineLacks, match=r"GiB of RAM are used and --ram allows .*: raise it"),
    ):
        drawn(by, asked)
    with closing(opened(asked, ram=used + 8 * GIB)) as by:
        drawn(by, asked)


def test_latents_that_are_no_numbers_are_no_clip(fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, does = shot(fp8, still), studio.denoise
    monkeypatch.setattr(studio, "denoise", lambda *given, **more: does(*given, **more) * float("nan"))
    with closing(opened(asked)) as by, pytest.raises(FloatingPointError, match="a LoRA or a weights file is damaged"):
        drawn(by, asked)


# What this machine has not


@pytest.mark.parametrize("precision", ["fp8", "fp16-accumulate"])
def test_precisions_that_need_a_gpu(precision: str, fp8: Wan, still: Still) -> None:
    with pytest.raises(MachineLacks, match=f'precision "{precision}" needs a CUDA GPU'):
        opened(shot(replace(fp8, precision=precision), still))


def test_a_cpu_must_be_asked_for(fp8: Wan, still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineLacks, match=r"needs a CUDA GPU.*--draft, or --device cpu"):
        WanStudio([shot(fp8, still)], Machine())


def test_attention_that_needs_a_gpu(fp8: Wan, still: Still) -> None:
    with pytest.raises(MachineLacks, match="--attention sage needs a CUDA device"):
        opened(shot(fp8, still), attention="sage")
