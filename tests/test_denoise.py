"""The denoise loop against the stock pipeline, bit for bit; guidance; what each step asks of which expert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
)
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor, WanTransformerBlock
from PIL import Image
from torch import Tensor

from scenes.shot import Stopped
from scenes.wan.denoise import Predict, denoise
from scenes.wan.models import I2V_A14B, TI2V_5B, WanModel
from scenes.wan.nag import NagProcessor, guided
from scenes.wan.recipes import Nag, Recipe, SamplingSpec, Step, recipe
from scenes.wan.schedules import sigmas
from tests import tiny_wan

torch.set_num_threads(1)
CPU = torch.device("cpu")
TOKENS, FRAMES, SIZE, SEED = 16, 9, 64, 11


def untold(index: int) -> None:
    pass


class GivenEuler(FlowMatchEulerDiscreteScheduler):
    """The pipeline asks for a number of steps; this gives it sigmas of ours."""

    levels: Sequence[float] = ()

    def set_timesteps(self, *asked: Any, **named: Any) -> None:
        super().set_timesteps(sigmas=list(self.levels), device=named.get("device"))


class GivenUniPC(UniPCMultistepScheduler):
    levels: Sequence[float] = ()

    def set_timesteps(self, *asked: Any, **named: Any) -> None:
        super().set_timesteps(sigmas=np.array(self.levels), device=named.get("device"))


class GivenLcm(FlowMatchLCMScheduler):
    levels: Sequence[float] = ()

    def set_timesteps(self, *asked: Any, **named: Any) -> None:
        super().set_timesteps(sigmas=list(self.levels), device=named.get("device"))


def scheduler_of(sampler: str, levels: Sequence[float]) -> Any:
    if sampler == "uni_pc":
        scheduler = GivenUniPC(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0)
    else:
        scheduler = {"euler": GivenEuler, "lcm": GivenLcm}[sampler](shift=1.0)
    scheduler.levels = levels
    return scheduler


def stock(sampler: str, levels: Sequence[float], five: bool = False) -> Any:
    """diffusers' own pipeline, of tiny experts."""
    channels = (48, 48) if five else (36, 16)
    pipe = WanImageToVideoPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=tiny_wan.vae22() if five else tiny_wan.vae21(),
        scheduler=scheduler_of(sampler, levels),
        transformer=tiny_wan.expert(1, channels),
        transformer_2=None if five else tiny_wan.expert(2, channels),
        boundary_ratio=None if five else 0.9,
        expand_timesteps=five,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def picture(hue: int) -> Image.Image:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    rgb = np.stack([x * 255 // (SIZE - 1), y * 255 // (SIZE - 1), ((x // 8 + y // 8) % 2) * hue], -1)
    return Image.fromarray(rgb.astype(np.uint8))


def texts(seed: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(2, 1, TOKENS, tiny_wan.TEXT, generator=generator)
    return found[0], found[1]


def stock_latents(pipe: Any, guidance: tuple[float, float], last: Image.Image | None = None) -> Tensor:
    text, negative = texts()
    five = pipe.config.expand_timesteps
    with torch.no_grad():
        return pipe(
            image=picture(200),
            last_image=last,
            prompt_embeds=text,
            negative_prompt_embeds=negative,
            height=SIZE,
            width=SIZE,
            num_frames=FRAMES,
            num_inference_steps=len(pipe.scheduler.levels),
            guidance_scale=guidance[0],
            guidance_scale_2=None if five else guidance[1],
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
            return_dict=False,
        )[0]


def condition(pipe: Any, last: Image.Image | None = None) -> tuple[Tensor, tuple[int, ...]]:
    """What the stock pipeline makes of its pictures, and the shape of the latents."""
    images = [
        None if each is None else pipe.video_processor.preprocess(each, height=SIZE, width=SIZE)
        for each in (picture(200), last)
    ]
    with torch.no_grad():
        latents, found, *_ = pipe.prepare_latents(
            images[0], 1, pipe.vae.config.z_dim, SIZE, SIZE, FRAMES, torch.float32, CPU, last_image=images[1]
        )
    return found, tuple(latents.shape)


def predict_with(pipe: Any, asked: list[Step] | None = None) -> Predict:
    def predict(latents: Tensor, timestep: Tensor, text: Tensor, step: Step) -> Tensor:
        if asked is not None:
            asked.append(step)
        expert = pipe.transformer if step.expert == "high" else pipe.transformer_2
        return expert(latents, timestep, text, return_dict=False)[0]

    return predict


def ours(pipe: Any, made: Recipe, last: Image.Image | None = None, asked: list[Step] | None = None) -> Tensor:
    found, shape = condition(pipe, last)
    text, negative = texts()
    return denoise(
        made,
        condition=found,
        text=text,
        negative=negative if made.negative_acts else None,
        predict=predict_with(pipe, asked),
        seed=SEED,
        shape=shape,
        device=CPU,
        told=untold,
    )


def made_for(model: WanModel, sampler: str, levels: Sequence[float], cfg: tuple[float, ...], **rest: Any) -> Recipe:
    spec = SamplingSpec(sampler, None, len(levels) - 1, None, tuple(levels), cfg, **rest)
    return recipe(spec, (), model, None)


FOUR, SIX = sigmas("simple", 4, 5.0), sigmas("beta", 6, 8.0)


class TestStock:
    @pytest.mark.parametrize("guidance", [(1.0, 1.0), (3.5, 3.0)])
    @pytest.mark.parametrize("levels", [FOUR, SIX])
    @pytest.mark.parametrize("sampler", ["euler", "uni_pc", "lcm"])
    def test_a14b_is_the_same_to_the_bit(
        self, sampler: str, levels: tuple[float, ...], guidance: tuple[float, float]
    ) -> None:
        pipe = stock(sampler, levels[:-1])
        made, asked = made_for(I2V_A14B, sampler, levels, guidance), list[Step]()
        found = ours(pipe, made, asked=asked)
        assert {step.expert for step in made.steps} == {"high", "low"}
        assert len(asked) == len(made.steps) * (1 if guidance == (1, 1) else 2)
        if sampler == "lcm":  # the stock pipeline hands its scheduler no generator: the global one must stand at ours
            with torch.random.fork_rng():
                torch.manual_seed(SEED)
                torch.randn(found.shape)
                expected = stock_latents(pipe, guidance)
        else:
            expected = stock_latents(pipe, guidance)
        assert torch.equal(found, expected)

    @pytest.mark.parametrize("sampler", ["euler", "uni_pc"])
    def test_first_and_last_frame_is_the_same_to_the_bit(self, sampler: str) -> None:
        pipe, made = stock(sampler, FOUR[:-1]), made_for(I2V_A14B, sampler, FOUR, (3.5, 3.5))
        found = ours(pipe, made, picture(90))
        assert torch.equal(found, stock_latents(pipe, (3.5, 3.5), picture(90)))
        assert not torch.equal(found, ours(pipe, made))

    @pytest.mark.parametrize("guidance", [1.0, 5.0])
    @pytest.mark.parametrize("sampler", ["euler", "uni_pc"])
    def test_ti2v_5b_is_the_same_to_the_bit(self, sampler: str, guidance: float) -> None:
        pipe, made = stock(sampler, FOUR[:-1], five=True), made_for(TI2V_5B, sampler, FOUR, (guidance, guidance))
        found = ours(pipe, made)
        assert torch.equal(found, stock_latents(pipe, (guidance, guidance)))
        assert torch.equal(found[:, :, :1], condition(pipe)[0])  # frame 0 is the picture's own

    def test_uni_pc_tells_the_model_whole_numbers_as_the_stock_does(self) -> None:
        times: list[float] = []
        made = made_for(I2V_A14B, "uni_pc", SIX, (1.0, 1.0))
        imagined(made, lambda latents, timestep, text, step: times.append(float(timestep)) or latents[:, :16])
        scheduler = scheduler_of("uni_pc", SIX[:-1])
        scheduler.set_timesteps(6)
        assert times == scheduler.timesteps.tolist() == [999, 987, 954, 889, 753, 447]


def imagined(made: Recipe, predict: Predict, **other: Any) -> Tensor:
    """A run with an expert that is any function."""
    text, negative = texts()
    given: dict[str, Any] = {
        "condition": torch.zeros(1, 20, 3, 4, 4),
        "text": text,
        "negative": negative,
        "predict": predict,
        "seed": SEED,
        "shape": (1, 16, 3, 4, 4),
        "device": CPU,
        "told": untold,
    }
    return denoise(made, **{**given, **other})


def counting(asked: list[tuple[Step, int]]) -> Predict:
    def predict(latents: Tensor, timestep: Tensor, text: Tensor, step: Step) -> Tensor:
        asked.append((step, text.shape[1]))
        return latents[:, :16] * text.mean()

    return predict


class TestCalls:
    def test_guidance_on_one_expert_only_is_paid_for_there_only(self) -> None:
        """The stock pipeline looks at the first number for both: (1, 3) gives no guidance, (3, 1) pays for nothing."""
        for guidance, expected in (((1.0, 3.0), [1, 1, 2, 2]), ((3.0, 1.0), [2, 2, 1, 1])):
            asked: list[tuple[Step, int]] = []
            made = made_for(I2V_A14B, "euler", FOUR, guidance)
            imagined(made, counting(asked))
            assert [sum(step is one for step, _ in asked) for one in made.steps] == expected
            pipe, seen = stock("euler", FOUR[:-1]), list[str]()
            for name in ("transformer", "transformer_2"):
                getattr(pipe, name).register_forward_hook(lambda *_, name=name, seen=seen: seen.append(name))
            stock_latents(pipe, guidance)
            assert len(seen) == (4 if guidance[0] == 1 else 8)

    def test_no_recipe_pays_for_a_second_pass_at_cfg_1(self) -> None:
        asked: list[tuple[Step, int]] = []
        spec = SamplingSpec("dpmpp_2m_sde", "simple", 6, 8.0, None, (2.0, 1.0, 1.0, 1.0, 1.0, 1.0), high_steps=3)
        imagined(recipe(spec, (), I2V_A14B, None), counting(asked))
        assert len(asked) == 7

    def test_each_step_asks_its_own_expert_at_its_own_strengths(self) -> None:
        steps = (Step(1.0, "high", 1.0, (3.0,)), Step(0.8, "high", 1.0, (2.0,)), Step(0.4, "low", 1.0, (1.0,)))
        asked: list[tuple[Step, int]] = []
        imagined(Recipe("euler", steps), counting(asked), negative=None)
        assert [step for step, _ in asked] == list(steps)

    def test_guidance_inside_attention_gets_both_texts_in_one_pass(self) -> None:
        spec = SamplingSpec("euler", "simple", 4, 5.0, None, (2.0, 1.0, 1.0, 1.0))
        asked: list[tuple[Step, int]] = []
        imagined(recipe(spec, (), I2V_A14B, Nag()), counting(asked))
        # At the first step cfg does it, with each text for itself.
        assert [tokens for _, tokens in asked] == [TOKENS, TOKENS, 2 * TOKENS, 2 * TOKENS, 2 * TOKENS]

    def test_a_negative_that_acts_must_be_there(self) -> None:
        for made in (
            made_for(I2V_A14B, "euler", FOUR, (3.0, 1.0)),
            Recipe("euler", (Step(1.0, "high", 1.0),), nag=Nag()),
        ):
            with pytest.raises(ValueError, match="negative"):
                imagined(made, counting([]), negative=None)

    def test_a_stop_passes(self) -> None:
        def tell(index: int) -> None:
            raise Stopped

        asked: list[tuple[Step, int]] = []
        with pytest.raises(Stopped):
            imagined(made_for(I2V_A14B, "euler", FOUR, (1.0, 1.0)), counting(asked), told=tell)
        assert len(asked) == 1

    def test_a_seed_gives_the_same_latents_and_another_others(self) -> None:
        made = made_for(I2V_A14B, "lcm", FOUR, (1.0, 1.0))

        def run(seed: int) -> Tensor:
            torch.rand(seed)
            return imagined(made, counting([]), seed=seed)

        assert torch.equal(run(1), run(1))
        assert not torch.equal(run(1), run(2))

    def test_latents_are_float32_with_experts_and_conditions_in_bf16(self) -> None:
        """Stock schedulers round latents to the experts' dtype at each step."""
        made = made_for(I2V_A14B, "euler", SIX, (3.0, 1.0))
        half: Callable[..., Tensor] = counting([])
        found = imagined(
            made,
            lambda *given: half(*given).bfloat16(),
            condition=torch.zeros(1, 20, 3, 4, 4, dtype=torch.bfloat16),
        )
        assert found.dtype == torch.float32
        assert not torch.equal(found, found.bfloat16().float())

    def test_the_5b_is_told_time_0_for_its_opening_picture(self) -> None:
        opening = torch.full((1, 48, 1, 4, 6), 7.0)

        def predict(latents: Tensor, timestep: Tensor, text: Tensor, step: Step) -> Tensor:
            assert torch.equal(latents[:, :, :1], opening)
            assert timestep.shape == (1, 3 * 2 * 3)
            assert timestep[0, :6].tolist() == [0.0] * 6
            assert set(timestep[0, 6:].tolist()) == {float(np.float32(step.sigma) * 1000)}
            return latents

        made = made_for(TI2V_5B, "euler", FOUR, (1.0, 1.0))
        found = imagined(made, predict, condition=opening, shape=(1, 48, 3, 4, 6))
        assert torch.equal(found[:, :, :1], opening)


def cross_attention(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return WanAttention(256, heads=2, dim_head=128, cross_attention_dim_head=128, processor=WanAttnProcessor()).eval()


def features(seed: int, tokens: int) -> Tensor:
    return torch.randn(1, tokens, 256, generator=torch.Generator().manual_seed(seed))


def attended(attention: Any, hidden: Tensor, context: Tensor) -> Tensor:
    """Plain attention's features, before its last linear."""
    query = attention.norm_q(attention.to_q(hidden)).unflatten(2, (2, -1)).transpose(1, 2)
    key = attention.norm_k(attention.to_k(context)).unflatten(2, (2, -1)).transpose(1, 2)
    value = attention.to_v(context).unflatten(2, (2, -1)).transpose(1, 2)
    weights = torch.softmax(query @ key.transpose(-1, -2) / 128**0.5, dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


class TestNag:
    @pytest.fixture(autouse=True)
    def no_gradients(self) -> Iterator[None]:
        with torch.no_grad():
            yield

    def test_it_is_the_papers_formula(self) -> None:
        attention, nag = cross_attention(), Nag(scale=11.0, tau=2.5, alpha=0.25)
        hidden, text, negative = features(1, 20), features(2, TOKENS), 3 * features(3, TOKENS)
        positive, away = attended(attention, hidden, text), attended(attention, hidden, negative)
        pushed = nag.scale * positive - (nag.scale - 1) * away
        ratio = pushed.abs().sum(-1, keepdim=True) / positive.abs().sum(-1, keepdim=True)
        assert float(ratio.max()) > nag.tau > float(ratio.min() * 0.1)  # some are held, as the test means them to be
        held = torch.where(ratio > nag.tau, pushed * nag.tau / ratio, pushed)
        expected = attention.to_out[0](nag.alpha * held + (1 - nag.alpha) * positive)
        attention.set_processor(NagProcessor(nag, TOKENS))
        found = attention(hidden, torch.cat([text, negative], 1))
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_scale_1_is_plain_attention(self) -> None:
        attention = cross_attention()
        hidden, text, negative = features(1, 20), features(2, TOKENS), features(3, TOKENS)
        plain = attention(hidden, text)
        attention.set_processor(NagProcessor(Nag(scale=1.0), TOKENS))
        assert torch.allclose(attention(hidden, torch.cat([text, negative], 1)), plain, atol=1e-6)

    def test_a_single_text_is_attended_to_as_ever(self) -> None:
        attention, hidden, text = cross_attention(), features(1, 20), features(2, TOKENS)
        plain = attention(hidden, text)
        attention.set_processor(NagProcessor(Nag(), TOKENS))
        assert torch.equal(attention(hidden, text), plain)

    def test_the_negative_acts_and_stays_within_bounds(self) -> None:
        positive, negative, nag = features(1, 30), features(2, 30), Nag(scale=11.0, tau=2.5, alpha=1.0)
        found = guided(positive, negative, nag)
        assert not torch.allclose(found, positive, atol=0.1)
        assert (found.abs().sum(-1) <= 2.5001 * positive.abs().sum(-1)).all()
        assert torch.isfinite(guided(torch.zeros(1, 2, 8), torch.ones(1, 2, 8), nag)).all()
        assert guided(positive.bfloat16(), negative.bfloat16(), nag).dtype == torch.bfloat16

    def test_a_block_with_it_compiles_to_one_graph(self) -> None:
        torch.manual_seed(0)
        block = WanTransformerBlock(256, 512, 2, cross_attn_norm=True).eval()
        block.attn2.set_processor(NagProcessor(Nag(), TOKENS))
        rope = tuple(torch.randn(1, 20, 1, 128) for _ in range(2))
        given = (features(1, 20), features(2, 2 * TOKENS), torch.randn(1, 6, 256), rope)
        graphs: list[torch.fx.GraphModule] = []

        def kept(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
            graphs.append(graph)
            return graph.forward

        compiled = torch.compile(block, fullgraph=True, backend=kept)
        assert torch.equal(compiled(*given), block(*given))
        assert torch.equal(compiled(*given), block(*given))
        assert len(graphs) == 1
        torch._dynamo.reset()

    def test_a_negative_changes_a_clip_at_cfg_1(self) -> None:
        pipe = stock("euler", FOUR[:-1])
        found, shape = condition(pipe)
        text, negative = texts()
        for expert in (pipe.transformer, pipe.transformer_2):
            for block in expert.blocks:
                block.attn2.set_processor(NagProcessor(Nag(), TOKENS))
        clips = [
            imagined(
                Recipe("euler", tuple(Step(sigma, "high", 1.0) for sigma in FOUR[:-1]), nag=nag),
                predict_with(pipe),
                condition=found,
                shape=shape,
                negative=against,
            )
            for nag, against in ((None, negative), (Nag(), negative), (Nag(), text))
        ]
        assert not torch.allclose(clips[0], clips[1], atol=1e-3)
        assert torch.allclose(clips[0], clips[2], atol=1e-3)  # the same text for and against cancels out
