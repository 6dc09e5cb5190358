"""WAN on a GPU, with tiny weights: streams that wait for each other, kernels, precisions, and memory that ends."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from scenes.files import write_still  # noqa: E402 (what WAN needs may be missing)
from scenes.footage import Still  # noqa: E402
from scenes.shot import Machine, MachineLacks, Shot  # noqa: E402
from scenes.wan import experts, studio  # noqa: E402
from scenes.wan.attention import KERNELS, choose_kernel, why_not  # noqa: E402
from scenes.wan.blocks import HostBuffer  # noqa: E402
from scenes.wan.budget import Placement  # noqa: E402
from scenes.wan.checkpoint import read_checkpoint  # noqa: E402
from scenes.wan.decode import decode  # noqa: E402
from scenes.wan.experts import Expert  # noqa: E402
from scenes.wan.loras import load_lora  # noqa: E402
from scenes.wan.models import I2V_A14B  # noqa: E402
from scenes.wan.recipes import Nag, Recipe, Step  # noqa: E402
from scenes.wan.renderer import Wan  # noqa: E402
from scenes.wan.studio import WanStudio  # noqa: E402
from scenes.wan.text import encode_prompts  # noqa: E402
from scenes.wan.vae import load_vae  # noqa: E402
from scenes.wan.weights import find_weights, hashed  # noqa: E402
from tests import tiny_wan  # noqa: E402
from tests.stories import chart, scene, write_picture, write_story  # noqa: E402

pytestmark = pytest.mark.gpu

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
RESIDENT, RAM, DISK = Placement(True, "disk"), Placement(False, "ram"), Placement(False, "disk")
LAYERS = 5
WAY = 20_000_000
"""Cycles that a GPU sleeps, some ten milliseconds: the host is far ahead by then."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, Path]:
    """One expert in several formats, and a LoRA."""
    state = tiny_wan.original_expert(tiny_wan.expert(1, layers=LAYERS).state_dict())
    made = {
        form: tiny_wan.write_safetensors(tiny_wan.FORMS[form](state), folder / f"{form}.safetensors")
        for form in ("bf16", "fp8_scaled", "fp8_rowwise")
    }
    made |= {form: tiny_wan.write_gguf(state, folder / f"{form}.gguf", form) for form in ("Q8_0", "Q4_K")}
    lora = tiny_wan.as_dtype(tiny_wan.lora(3), torch.bfloat16)
    return {**made, "lora": tiny_wan.write_safetensors(lora, folder / "lora.safetensors")}


@contextmanager
def expert(
    path: Path, placement: Placement, lora: Path | None = None, device: Any = GPU, **given: Any
) -> Iterator[Expert]:
    made = Expert(read_checkpoint(path), device, placement, **given)
    if lora is not None:
        made.set_loras([(load_lora(lora, made.shape), 0.7)])
    with closing(made):
        yield made


def inputs(device: Any = GPU) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(1, 36, 3, 16, 16, generator=generator), torch.randn(1, 32, 256, generator=generator)
    return latents.to(device), torch.tensor([500.0], device=device), text.to(device)


def off(found: Any, expected: Any) -> float:
    """Relative error."""
    found, expected = found.float().cpu(), expected.float().cpu()
    return float((found - expected).norm() / expected.norm())


# Experts


@pytest.mark.parametrize("form", ["bf16", "fp8_scaled", "fp8_rowwise", "Q8_0", "Q4_K"])
@pytest.mark.parametrize("with_lora", [False, True])
def test_streamed_equals_resident_bit_for_bit(form: str, with_lora: bool, files: dict[str, Path]):
    lora = files["lora"] if with_lora else None
    with expert(files[form], RESIDENT, lora) as each:
        expected = each(*inputs())
    for placement, held in ((RAM, 0), (DISK, 0), (DISK, 2)):
        with expert(files[form], placement, lora, held=held) as each:
            given = inputs()
            outs = []
            for _ in range(4):
                torch.cuda._sleep(WAY)  # blocks are asked for long before the ones before them are computed
                outs.append(each(*given))
            with each.slots.copying():
                torch.cuda._sleep(WAY)  # and computing waits for a copy that is late
            outs += [each(*given) for _ in range(2)]
            assert all(torch.equal(out, expected) for out in outs), (placement, held)


def test_experts_that_take_turns_in_the_same_slots(files: dict[str, Path]):
    with expert(files["bf16"], RESIDENT) as high, expert(files["Q8_0"], RESIDENT, files["lora"]) as low:
        given = inputs()
        expected = [high(*given), low(*given)]
    with (
        expert(files["bf16"], RAM) as high,
        expert(files["Q8_0"], DISK, files["lora"], beside=high) as low,
    ):
        both = (high, low)
        for now, then in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 1), (1, 0), (0, 0)):
            torch.cuda._sleep(WAY)
            assert torch.equal(both[now](*given, then=both[then]), expected[now])


@pytest.mark.parametrize("form", ["bf16", "fp8_scaled", "Q8_0"])
def test_near_the_cpus_fp32(form: str, files: dict[str, Path]):
    with expert(files[form], RAM, files["lora"], CPU) as each:
        expected = each(*inputs(CPU))
    with expert(files[form], RAM, files["lora"]) as each:
        assert off(each(*inputs()), expected) < 0.02


@pytest.mark.parametrize("form", ["bf16", "fp8_scaled", "fp8_rowwise", "Q8_0", "Q4_K"])
@pytest.mark.parametrize("placement", [RAM, DISK, RESIDENT])
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")  # torch says so once a process
def test_the_host_never_waits_in_a_forward(form: str, placement: Placement, files: dict[str, Path]):
    with expert(files[form], placement, files["lora"]) as each:
        given = inputs()
        for _ in range(2):
            each(*given)
        torch.cuda.synchronize()
        try:
            torch.cuda.set_sync_debug_mode("error")
            each(*given)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_memory_that_ends_within_a_forward_leaves_the_expert_usable(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    with expert(files["fp8_scaled"], RAM, files["lora"]) as each:
        given = inputs()
        expected = each(*given)
        fill, calls = experts._fill, iter(range(100))

        def failing(*asked: Any) -> None:
            if next(calls) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            fill(*asked)

        monkeypatch.setattr(experts, "_fill", failing)
        with pytest.raises(torch.OutOfMemoryError):
            each(*given)
        for _ in range(3):
            assert torch.equal(each(*given), expected)


def test_ram_that_is_dropped_unclosed_is_unlocked():
    for _ in range(4):  # a page that stays locked cannot be locked again
        buffer = HostBuffer(64 * 2**20, GPU).lock()
        place = buffer.bytes.to(GPU, non_blocking=True)
        del buffer
        gc.collect()
        assert int(place.sum()) == 0
    torch.zeros(1, device=GPU).item()


# Precisions


@pytest.mark.parametrize("form", ["bf16", "fp8_scaled", "fp8_rowwise", "Q8_0"])
def test_fp8_is_near(form: str, files: dict[str, Path]):
    if torch.cuda.get_device_capability(GPU) < (8, 9):
        with pytest.raises(MachineLacks, match=r"compute capability 8\.9"), expert(files[form], RAM, precision="fp8"):
            pass
        return
    with expert(files[form], RESIDENT, files["lora"]) as each:
        exact = each(*inputs())
    outs = []
    for placement in (RESIDENT, RAM, DISK):
        with expert(files[form], placement, files["lora"], precision="fp8") as each:
            outs += [each(*inputs()) for _ in range(2)]
    assert 0 < off(outs[0], exact) < 0.1
    assert all(torch.equal(out, outs[0]) for out in outs)


def test_fp8_is_refused_below_compute_capability_8_9(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (8, 6))
    with pytest.raises(MachineLacks, match=r"has 8\.6: take precision"), expert(files["bf16"], RAM, precision="fp8"):
        pass


def test_fp16_accumulate_is_near_and_ends_with_the_call(files: dict[str, Path]):
    with expert(files["bf16"], RESIDENT) as each:
        exact = each(*inputs())
    with expert(files["bf16"], RAM, precision="fp16-accumulate") as each:
        found = each(*inputs())
    assert found.dtype == torch.float16
    assert 0 < off(found, exact) < 0.03
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
def test_one_compiled_graph_for_all_blocks_and_formats_near_the_eager_one(files: dict[str, Path]):
    counters = torch._dynamo.utils.counters
    before = counters["stats"]["unique_graphs"]
    for form in ("bf16", "fp8_scaled", "Q8_0"):
        with expert(files[form], RAM, files["lora"]) as each:
            eager = each(*inputs())
        for placement in (RAM, DISK):
            with expert(files[form], placement, files["lora"], compile=True) as each:
                outs = [each(*inputs()) for _ in range(2)]
            assert off(outs[0], eager) < 0.02
            assert torch.equal(*outs)
    assert counters["stats"]["unique_graphs"] - before == 1


# Attention


def test_the_kernel_that_is_chosen_is_exact_and_works():
    chosen = choose_kernel(None, GPU)
    assert chosen.exact
    assert why_not(chosen.name, GPU) is None
    assert why_not("native", GPU) is None


def test_why_a_kernel_cannot_be_used_is_said():
    reason = why_not("sage", GPU)
    if reason is None:
        assert choose_kernel("sage", GPU) is KERNELS["sage"]
        return
    assert "sageattention is not installed" in reason or "does not run here" in reason or "off by" in reason
    with pytest.raises(MachineLacks, match="--attention sage: "):
        choose_kernel("sage", GPU)


@pytest.mark.parametrize("name", ["native", "cudnn", "flash-4"])
def test_every_kernel_that_works_gives_the_same_within_rounding(name: str, files: dict[str, Path]):
    if why_not(name, GPU) is not None:
        with pytest.raises(MachineLacks, match=f"--attention {name}: "):
            choose_kernel(name, GPU)
        return
    with expert(files["bf16"], RAM) as each:
        expected = each(*inputs())
    with expert(files["bf16"], RAM, attention=choose_kernel(name, GPU).backend) as each:
        assert off(each(*inputs()), expected) < 0.02


# The VAE and the text encoder


@pytest.fixture(scope="module")
def vae_file(folder: Path) -> Path:
    return tiny_wan.write_safetensors(tiny_wan.original_vae(tiny_wan.vae21(4)), folder / "vae.safetensors")


def latents(device: Any = GPU) -> Any:
    return torch.randn(1, 16, 4, 12, 20, generator=torch.Generator().manual_seed(1)).to(device)


def levels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other)


def film(chunks: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(chunks))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("strips", [2, 5])
def test_strips_are_near_the_whole(dtype: Any, strips: int, vae_file: Path):
    vae = load_vae(read_checkpoint(vae_file), GPU, dtype)
    whole, parts = film(decode(vae, latents())), film(decode(vae, latents(), strips))
    # Other shapes, other kernels: TF32 rounds to 10 bits, bf16 to 7.
    apart = levels(whole, parts)
    assert apart.max() <= (4 if dtype == torch.float32 else 24)
    assert apart.mean() < (0.1 if dtype == torch.float32 else 1)


def test_decoded_near_the_cpu(vae_file: Path):
    expected = film(decode(load_vae(read_checkpoint(vae_file), CPU, torch.float32), latents(CPU)))
    apart = levels(film(decode(load_vae(read_checkpoint(vae_file), GPU, torch.float32), latents())), expected)
    assert apart.max() <= 4
    assert apart.mean() < 0.2


@pytest.mark.parametrize("strips", [1, 3])
def test_frames_are_the_same_for_a_slow_and_for_a_fast_consumer(strips: int, vae_file: Path):
    vae = load_vae(read_checkpoint(vae_file), GPU, torch.float32)

    def slowly() -> Iterator[np.ndarray]:
        for chunk in decode(vae, latents(), strips):
            time.sleep(0.03)
            yield chunk  # kept: the memory behind it must not be used again

    def behind() -> Iterator[np.ndarray]:
        frames = decode(vae, latents(), strips)
        while True:
            torch.cuda._sleep(WAY)  # the GPU is late
            chunk = next(frames, None)
            if chunk is None:
                return
            yield chunk.copy()

    fast = film(decode(vae, latents(), strips))
    assert np.array_equal(film(slowly()), fast)
    assert np.array_equal(film(behind()), fast)


def test_prompts_are_encoded_near_the_cpu(folder: Path):
    state = tiny_wan.fp8_scaled(tiny_wan.comfy_text_encoder(tiny_wan.text_encoder(3)))
    path = tiny_wan.write_safetensors(tiny_wan.with_tokenizer(state), folder / "umt5.safetensors")
    words = ["a wooden dock at dawn", "", "a rowing boat leaves the dock. the sky darkens, waves rise"]
    there, here = (encode_prompts(words, read_checkpoint(path), None, device) for device in (GPU, CPU))
    for each in words:
        assert there[each].device.type == "cpu"
        assert off(there[each], here[each]) < 0.06  # bf16 there, fp32 here, and weights that no training made tame
        assert torch.equal(there[each].any(1), here[each].any(1)), "zeros beyond its tokens"


# A studio


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Wan:
    models = tiny_wan.write_comfy_folder(folder / "models")
    weights = hashed(find_weights(I2V_A14B.name, I2V_A14B, models, [models]), lambda path: path.name)
    recipe = Recipe("euler", (Step(1.0, "high", 1.0), Step(0.6, "low", 2.0)), nag=Nag())
    return Wan(Fraction(16), I2V_A14B.name, weights, recipe, None, "fp32")


@pytest.fixture(scope="module")
def still(folder: Path) -> Still:
    return write_still(chart(96, 64), folder / "opening.png")


def shot(renderer: Wan, still: Still, frames: int = 9) -> Shot:
    return Shot("a dock", "blurry", 7, frames, (96, 64), (still,), None, (), renderer)


def opened(asked: Shot, say: Callable[[str], None] = lambda _: None, **more: Any) -> WanStudio:
    return WanStudio(
        [asked], Machine(**{"device": "cuda", "compile": False, "attention": "native", "say": say, **more})
    )


def drawn(by: WanStudio, asked: Shot) -> np.ndarray:
    return np.stack(list(by.render(asked, lambda _: None)))


@pytest.fixture
def whole_gpu() -> Iterator[None]:
    """The memory of the whole GPU may be used again afterwards."""
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    gc.collect()
    torch.cuda.empty_cache()


def test_a_clip_is_near_the_cpus(renderer: Wan, still: Still, whole_gpu: None):
    asked = shot(renderer, still)
    with closing(opened(asked)) as by:
        found = drawn(by, asked)
        assert np.array_equal(drawn(by, asked), found)
        assert by.made["device"] == torch.cuda.get_device_name(0)
    with closing(WanStudio([asked], Machine(device="cpu"))) as by:
        expected = drawn(by, asked)
    assert levels(found, expected).mean() < 6


def test_wherever_weights_lie_the_clip_is_the_same(
    renderer: Wan, still: Still, whole_gpu: None, monkeypatch: pytest.MonkeyPatch
):
    asked, planned = shot(renderer, still), studio.planned
    films = []
    for places in ((RESIDENT, RESIDENT), (RAM, RAM), (RAM, DISK), (DISK, DISK), (RESIDENT, RAM)):

        def elsewhere(*given: Any, places: Any = places) -> Any:
            plan, needs = planned(*given)
            return replace(plan, placements=places, held=(0, 0)), needs

        monkeypatch.setattr(studio, "planned", elsewhere)
        with closing(opened(asked)) as by:
            films += [drawn(by, asked), drawn(by, asked)]
    assert all(np.array_equal(each, films[0]) for each in films)


def test_closed_it_gives_all_memory_back(renderer: Wan, still: Still, whole_gpu: None):
    asked, left = shot(renderer, still), []
    for _ in range(3):
        with closing(opened(asked)) as by:
            drawn(by, asked)
        del by
        gc.collect()
        torch.cuda.synchronize()
        left.append(torch.cuda.memory_allocated(GPU))
    assert left[2] <= left[1], "the first time the libraries take workspaces, which they keep"


def test_less_memory_than_the_leanest_plan_needs_is_told_before_anything_is_loaded(
    renderer: Wan, still: Still, whole_gpu: None
):
    with pytest.raises(MachineLacks, match=r"at the leanest and 0\.5 GiB may be used"):
        opened(shot(renderer, still), vram=2**29)


@contextmanager
def nothing_left() -> Iterator[None]:
    """No memory of the GPU may be used beyond what is held now."""
    gc.collect()
    torch.cuda.empty_cache()
    held, total = torch.cuda.memory_reserved(GPU), torch.cuda.mem_get_info(GPU)[1]
    torch.cuda.set_per_process_memory_fraction(held / total, GPU)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)


@pytest.fixture(scope="module")
def large(renderer: Wan, folder: Path) -> Shot:
    """A shot whose frames find no place in what the allocator holds in reserve."""
    opening = write_still(chart(640, 384), folder / "large.png")
    return replace(shot(renderer, opening, 13), size=(640, 384))


def test_memory_that_ends_leads_to_a_leaner_plan(large: Shot, whole_gpu: None):
    asked, said = large, list[str]()

    def say(text: str) -> None:
        said.append(text)
        if "once more, leaner" in text:
            torch.cuda.set_per_process_memory_fraction(1.0, GPU)

    with closing(opened(asked, say)) as by:
        expected = drawn(by, asked)
        with nothing_left():
            found = drawn(by, asked)
    assert len([text for text in said if text.startswith("the GPU's memory ran out: once more, leaner: ")]) == 1
    assert levels(found, expected).mean() < 2


def test_memory_that_ends_twice_is_this_machines_lack(large: Shot, whole_gpu: None, monkeypatch: pytest.MonkeyPatch):
    load, said = studio.load_cast, list[str]()
    with closing(opened(large, said.append)) as by, nothing_left():

        def squeezed(*given: Any) -> Any:
            torch.cuda.set_per_process_memory_fraction(1.0, GPU)
            made = load(*given)
            stack.enter_context(nothing_left())
            return made

        monkeypatch.setattr(studio, "load_cast", squeezed)
        with ExitStack() as stack, pytest.raises(MachineLacks, match=r"the GPU's memory ran out .*Use fewer frames"):
            drawn(by, large)
    assert any("once more, leaner" in text for text in said)


def test_a_chained_story_from_weights_to_film(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("av")
    from storyboard.events import Events
    from storyboard.options import Options
    from storyboard.production import produce
    from storyboard.rehearsal import rehearse
    from storyboard.store import Store
    from storyboard.story import read_story
    from storyboard.verify import verify

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models = tiny_wan.write_comfy_folder(folder / "story-models")
    write_picture(tmp_path, "dock.png")
    look = 'size = "64x48"\nframes = 5\n'
    path = write_story(tmp_path, scene("dock", image="dock.png"), scene("boat", negative_prompt="blurry"), look=look)
    options = Options(False, device="cuda:0", weights=(models,), compile=False)
    store, heard = Store(tmp_path / ".storyboard"), []
    with store.in_use():
        outcome = produce(read_story(path), store, options, Events(None, (heard.append,)))
    assert outcome.film is not None
    assert outcome.film.stat().st_size > 1000
    findings = list(verify(rehearse(read_story(path), store, options), store))
    assert findings
    assert all(finding.holds for finding in findings), findings
    assert any(event["event"] == "note" and event["text"].startswith("memory: ") for event in heard)
    # On another device it is the same film, kept.
    elsewhere = rehearse(read_story(path), store, replace(options, device="cpu"))
    assert not elsewhere.crew.missing_clips
