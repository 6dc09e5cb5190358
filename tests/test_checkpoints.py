"""Checkpoints told by their heads: every format people have, every other thing they mistake for it, and damage."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors import safe_open

from scenes.wan.anatomy import parameters
from scenes.wan.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from scenes.wan.expert_names import original_name
from scenes.wan.gguf_head import TYPES
from scenes.wan.identify import ExpertShape, Identity, Refused, expert_names, expert_shape, identify, width
from scenes.wan.models import I2V_A14B, TI2V_5B
from tests import tiny_wan
from tests.wan_heads import TINY, expert_tensors, some, write_head

torch.set_num_threads(1)

A14B = ExpertShape(5120, 13824, 40, 36, 16, 4096, 256)
B5 = ExpertShape(3072, 14336, 30, 48, 48, 4096, 256)
GGUF_FORMATS = ("Q8_0", "Q6_K", "Q5_1", "Q5_K", "Q5_0", "Q4_1", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "BF16", "F16")


@pytest.fixture(scope="module")
def bf16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan.write_expert(tmp_path_factory.mktemp("bf16"), "expert", "bf16", 1)


@pytest.fixture(scope="module")
def q8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan.write_expert(tmp_path_factory.mktemp("q8"), "expert", "Q8_0", 1)


# Formats that people have.

FORMATS = {
    "bf16": "bf16",
    "fp16": "fp16",
    "fp32": "fp32",
    "fp8_scaled": "fp8 scaled",
    "fp8_scaled_e5m2": "fp8 scaled (e5m2)",
    "fp8_weight_scale": "fp8 scaled",
    "fp8_rowwise": "fp8 scaled",
    "fp8_unscaled": "fp8",
    **{name: f"GGUF {name}" for name in GGUF_FORMATS},
}


@pytest.mark.parametrize("form", FORMATS)
def test_an_experts_format_is_told_and_its_tensors_have_diffusers_names(form: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(tiny_wan.write_expert(tmp_path, "expert", form, 1))
    assert identify(checkpoint) == Identity("expert", I2V_A14B, FORMATS[form])
    assert expert_shape(checkpoint) == TINY
    names = expert_names(checkpoint)
    assert {name: info.shape for name, info in names.items() if not name.endswith("_scale")} == parameters(TINY)
    scales = {name for name in names if name.endswith("_scale")}
    assert len(scales) == (20 if "scale" in FORMATS[form] else 0)
    assert all(name.removesuffix("_scale") in names for name in scales)


def test_the_5b_is_told_by_its_channels(tmp_path: Path) -> None:
    path = tiny_wan.write_expert(tmp_path, "expert", "bf16", 1, (48, 48))
    assert identify(read_checkpoint(path)).model is TI2V_5B


def test_scales_and_marks_of_activations_are_known_and_left_out(tmp_path: Path) -> None:
    state = tiny_wan.fp8_scaled(tiny_wan.original_expert(tiny_wan.expert().state_dict()))
    state["blocks.0.ffn.0.scale_input"] = torch.ones(1)
    state["blocks.0.ffn.2.input_scale"] = torch.ones(1)
    checkpoint = read_checkpoint(tiny_wan.write_safetensors(state, tmp_path / "expert.safetensors"))
    names = expert_names(checkpoint)
    assert {info.name for info in names.values()} == state.keys() - {
        "blocks.0.ffn.0.scale_input",
        "blocks.0.ffn.2.input_scale",
        "scaled_fp8",
    }
    assert names["blocks.0.ffn.net.0.proj.weight_scale"].name == "blocks.0.ffn.0.scale_weight"


@pytest.mark.parametrize("shape", [A14B, B5], ids=["a14b", "5b"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_every_name_of_a_model_becomes_what_diffusers_makes_of_it(shape: ExpertShape, prefix: str) -> None:
    ours = {original_name(name): name for name in parameters(shape)}
    assert len(ours) == len(parameters(shape)) == 15 + 27 * shape.layers
    theirs = convert_wan_transformer_to_diffusers({prefix + name: name for name in ours})
    assert {original: name for name, original in theirs.items()} == ours


@pytest.mark.parametrize("shape", [A14B, B5], ids=["a14b", "5b"])
def test_the_parameters_are_those_of_diffusers_model(shape: ExpertShape) -> None:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=shape.dim // 128,
            in_channels=shape.in_channels,
            out_channels=shape.out_channels,
            text_dim=shape.text_dim,
            ffn_dim=shape.ffn,
            num_layers=shape.layers,
        )
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == parameters(shape)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "model.", "transformer."])
@pytest.mark.parametrize("ours", [False, True], ids=["wan", "diffusers"])
def test_any_prefix_and_naming_will_do(prefix: str, ours: bool, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_head(tmp_path / "x.safetensors", expert_tensors(prefix=prefix, ours=ours)))
    names = expert_names(checkpoint)
    assert {name: info.shape for name, info in names.items()} == parameters(TINY)
    assert identify(checkpoint).part == "expert"


def test_a_full_size_expert_is_told_from_its_head(tmp_path: Path) -> None:
    path = write_head(tmp_path / "wan2.2_i2v_high_noise_14B_fp16.safetensors", expert_tensors(A14B, "F16"))
    assert path.stat().st_size > 28e9
    checkpoint = read_checkpoint(path)
    assert expert_shape(checkpoint) == A14B
    assert identify(checkpoint) == Identity("expert", I2V_A14B, "fp16")


def test_vaes_text_encoders_and_loras_are_told(tmp_path: Path) -> None:
    def told(name: str, state: tiny_wan.State) -> Identity:
        return identify(read_checkpoint(tiny_wan.write_safetensors(state, tmp_path / f"{name}.safetensors")))

    encoder = tiny_wan.text_encoder()
    assert told("a", tiny_wan.original_vae(tiny_wan.vae21())) == Identity("vae", I2V_A14B, "fp32")
    assert told("b", tiny_wan.vae21().state_dict()) == Identity("vae", I2V_A14B, "fp32")
    assert told("c", tiny_wan.original_vae(tiny_wan.vae22())) == Identity("vae", TI2V_5B, "fp32")
    assert told("d", tiny_wan.vae22().state_dict()) == Identity("vae", TI2V_5B, "fp32")
    comfy = tiny_wan.with_tokenizer(tiny_wan.fp8_scaled(tiny_wan.comfy_text_encoder(encoder)))
    assert told("e", comfy) == Identity("text-encoder", None, "fp8 scaled")
    for form in ("lightning", "lora_A/B", "musubi", "peft"):
        assert told("f", tiny_wan.as_dtype(tiny_wan.lora(form=form), torch.bfloat16)) == Identity("lora", None, "bf16")
    path = tiny_wan.write_gguf(tiny_wan.llama_text_encoder(encoder), tmp_path / "t5.gguf", "Q8_0", "t5encoder")
    assert identify(read_checkpoint(path)).part == "text-encoder"
    assert width(read_checkpoint(path)) == tiny_wan.TEXT


# Heads read as their own libraries read them.


def test_safetensors_heads_are_read_as_the_library_reads_them(bf16: Path) -> None:
    checkpoint = read_checkpoint(bf16)
    with safe_open(bf16, "pt") as theirs:
        assert set(theirs.keys()) == set(checkpoint.tensors)
        for name, info in checkpoint.tensors.items():
            tensor = theirs.get_tensor(name)
            assert tuple(tensor.shape) == info.shape
            raw = np.fromfile(info.path, np.uint8, info.nbytes, offset=info.offset)
            assert raw.tobytes() == tensor.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("form", ["Q8_0", "Q4_K", "BF16"])
def test_gguf_heads_are_read_as_the_library_reads_them(form: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(tiny_wan.write_expert(tmp_path, "expert", form, 1))
    assert checkpoint.gguf
    assert checkpoint.metadata["general.architecture"] == "wan"
    theirs = gguf.GGUFReader(checkpoint.path)
    assert {tensor.name for tensor in theirs.tensors} == set(checkpoint.tensors)
    for tensor in theirs.tensors:
        info = checkpoint.tensors[tensor.name]
        shape = tuple(int(side) for side in reversed(tensor.shape))
        told = (tensor.tensor_type.name, shape, tensor.data_offset, tensor.n_bytes)
        assert (info.dtype, info.shape, info.offset, info.nbytes) == told


def test_gguf_types_are_those_of_the_library() -> None:
    for number, (name, weights, size) in TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, *gguf.GGML_QUANT_SIZES[kind]) == (name, weights, size)


def test_a_gguf_head_with_all_kinds_of_values(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    writer.add_custom_alignment(256)
    writer.add_string("text", "日本")
    writer.add_bool("yes", True)
    writer.add_float64("number", 0.5)
    writer.add_array("short", [1, 2, 3])
    writer.add_array("long", list(range(1000)))
    writer.add_array("words", [f"word {i}" for i in range(1000)])
    writer.add_tensor("one", np.ones((3, 5), np.float32))
    writer.add_tensor("two", np.ones(7, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = read_checkpoint(tmp_path / "x.gguf")
    told = {key: checkpoint.metadata.get(key) for key in ("text", "yes", "number", "short", "long", "words")}
    assert told == {"text": "日本", "yes": "true", "number": "0.5", "short": "[1, 2, 3]", "long": None, "words": None}
    assert checkpoint.tensors["two"].offset % 256 == 0
    raw = np.fromfile(checkpoint.path, np.float32, 15, offset=checkpoint.tensors["one"].offset)
    assert (raw == 1).all()


def gguf_expert(path: Path, change: Callable[[str, np.ndarray], np.ndarray], notes: dict[str, list[int]]) -> Path:
    """An expert as some program writes it: tensors changed in shape, and ComfyUI-GGUF's notes of their own shapes."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, shape in notes.items():
        writer.add_array(f"comfy.gguf.orig_shape.{name}", shape)
    for name, tensor in tiny_wan.original_expert(tiny_wan.expert().state_dict()).items():
        writer.add_tensor(name, change(name, tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_with_a_note_of_the_patch_embeddings_own_shape(tmp_path: Path) -> None:
    def flat(name: str, values: np.ndarray) -> np.ndarray:
        return values.reshape(256, -1) if name == "patch_embedding.weight" else values

    notes = {"patch_embedding.weight": [256, 36, 1, 2, 2]}
    checkpoint = read_checkpoint(gguf_expert(tmp_path / "x.gguf", flat, notes))
    assert checkpoint.tensors["patch_embedding.weight"].shape == (256, 36, 1, 2, 2)
    assert expert_names(checkpoint)["patch_embedding.weight"].shape == (256, 36, 1, 2, 2)


def test_a_gguf_of_four_sides_that_lost_its_ones(tmp_path: Path) -> None:
    def four_sides(name: str, values: np.ndarray) -> np.ndarray:
        if name == "patch_embedding.weight":  # as stable-diffusion.cpp keeps convolutions over time
            return values.reshape(256 * 36, 1, 2, 2)
        return values.squeeze() if name.endswith("modulation") else values

    checkpoint = read_checkpoint(gguf_expert(tmp_path / "x.gguf", four_sides, {}))
    assert expert_shape(checkpoint) == TINY
    assert {name: info.shape for name, info in expert_names(checkpoint).items()} == parameters(TINY)


def test_reading_heads_loads_neither_torch_nor_the_libraries(bf16: Path, q8: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from scenes.wan.identify import expert_names, identify
from scenes.wan.checkpoint import read_checkpoint
import scenes.wan.weights
for path in ({str(bf16)!r}, {str(q8)!r}):
    checkpoint = read_checkpoint(Path(path))
    identify(checkpoint), expert_names(checkpoint)
print([name for name in ("torch", "diffusers", "transformers", "gguf", "safetensors", "yaml") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


# Folders, sharded or not.


def shards(
    folder: Path, stem: str = "diffusion_pytorch_model", index: str = ".safetensors.index.json"
) -> dict[str, str]:
    """Two shards of an expert and their index; gives the index's map."""
    tensors = list(expert_tensors(ours=True).items())
    where: dict[str, str] = {}
    for number, part in enumerate((tensors[:30], tensors[30:]), 1):
        name = f"{stem}-0000{number}-of-00002.safetensors"
        write_head(folder / name, dict(part))
        where |= {tensor: name for tensor, _ in part}
    (folder / f"{stem}{index}").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return where


def test_a_folder_of_shards(tmp_path: Path) -> None:
    shards(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert [file.name[-23:] for file in checkpoint.files] == [f"0000{n}-of-00002.safetensors"[-23:] for n in (1, 2)]
    assert {name: info.shape for name, info in expert_names(checkpoint).items()} == parameters(TINY)


def test_a_folder_with_variants_takes_the_one_without_a_name(tmp_path: Path) -> None:
    plain = write_head(tmp_path / "model.safetensors", expert_tensors())
    write_head(tmp_path / "model.fp16.safetensors", expert_tensors(dtype="F16"))
    assert read_checkpoint(tmp_path).files == (plain,)


@pytest.mark.parametrize("stem", ["diffusion_pytorch_model.bf16", "model.fp16"])
def test_a_folder_with_nothing_but_a_variant_takes_that(stem: str, tmp_path: Path) -> None:
    path = write_head(tmp_path / f"{stem}.safetensors", expert_tensors())
    assert read_checkpoint(tmp_path).files == (path,)


def test_a_folder_of_shards_of_a_variant(tmp_path: Path) -> None:
    # As diffusers writes them: the variant stands before the numbers in the shards, last in the index.
    shards(tmp_path, "diffusion_pytorch_model.bf16", ".safetensors.index.json")
    index = tmp_path / "diffusion_pytorch_model.bf16.safetensors.index.json"
    index.rename(tmp_path / "diffusion_pytorch_model.safetensors.index.bf16.json")
    assert len(read_checkpoint(tmp_path).files) == 2


def test_diffusers_own_folders_are_read(tmp_path: Path) -> None:
    model = tiny_wan.expert()
    for name, arguments in (("one", {}), ("two", {"max_shard_size": "3MB"}), ("three", {"variant": "fp16"})):
        model.save_pretrained(tmp_path / name, **arguments)
        checkpoint = read_checkpoint(tmp_path / name)
        assert len(checkpoint.files) == (1 if name != "two" else len(list((tmp_path / name).glob("*-of-*"))))
        assert {key: info.shape for key, info in expert_names(checkpoint).items()} == parameters(TINY)
        assert identify(checkpoint).format == "fp32"


# What is no checkpoint, and what is damaged. `X` stands for the file's path.

Damage = Callable[[Path], None]


def written(content: bytes) -> Damage:
    return lambda path: path.write_bytes(content) and None


def cut(part: float) -> Damage:
    def damage(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return damage


def head(entries: object, data: bytes = b"") -> Damage:
    text = json.dumps(entries).encode()
    return written(struct.pack("<Q", len(text)) + text + data)


POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 14294794240
"""
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
NO_FILES: dict[str, tuple[Damage, str]] = {
    "empty": (written(b""), "X is empty: download it again"),
    "zeros": (written(bytes(4096)), "X holds only zeros, its download did not end: download it again"),
    "git-lfs pointer": (
        written(POINTER),
        'X is a git-lfs pointer, not the file itself: run "git lfs pull" where it was cloned, or download the file',
    ),
    "web page": (
        written(b"<!DOCTYPE html><html><title>Sign in</title></html>"),
        "X is a web page: the download asked for a log-in or a wrong address; download the file itself",
    ),
    "server's answer": (
        written(b'{"error":"Access to model Wan-AI/Wan2.2 is restricted"}'),
        'X is a server\'s answer, not the file: {"error":"access to model wan-ai/wan2.2 is restricted"}; '
        "download it again",
    ),
    "torch pickle": (
        written(b"PK\x03\x04" + bytes(100)),
        "X is a pickle (.pth, .bin, .ckpt), which can run programs when it is opened and is not: "
        "take the .safetensors of the same weights, or convert it",
    ),
    "old pickle": (
        written(b"\x80\x02}q\x00." + bytes(100)),
        "X is a pickle (.pth, .bin, .ckpt), which can run programs when it is opened and is not: "
        "take the .safetensors of the same weights, or convert it",
    ),
    "archive": (written(b"7z\xbc\xaf\x27\x1c" + bytes(100)), "X is an archive: unpack it, and name the file within"),
    "picture": (
        written(b"\x89PNG\r\n\x1a\n" + bytes(100)),
        "X is no checkpoint (.safetensors or .gguf), or its head is damaged: download it again",
    ),
    "huge head length": (
        written(struct.pack("<Q", 2**60) + b"{" + bytes(100)),
        "X is no checkpoint (.safetensors or .gguf), or its head is damaged: download it again",
    ),
    "cut within its head": (
        written(struct.pack("<Q", 5000) + b'{"blocks.0' + bytes(100)),
        "X is cut short within its head, 118 bytes are here: download it again",
    ),
    "no JSON": (
        written(struct.pack("<Q", 12) + b"{not a head}"),
        "X is damaged: its head is no head of a safetensors file: download it again",
    ),
    "a tensor without a type": (
        head({"x": {"shape": [2]}}),
        "X is damaged: its head is no head of a safetensors file: download it again",
    ),
    "an unknown type": (
        head({"x": {**ONE, "dtype": "F8_NEXT"}}, bytes(8)),
        "X: x is of an unknown type F8_NEXT: this version of storyboard is too old for it",
    ),
    "shape and bytes disagree": (
        head({"x": {**ONE, "shape": [3]}}, bytes(8)),
        "X is damaged: x is [3] F32, and 8 bytes are there for it: download it again",
    ),
    "tensors that overlap": (
        head({"x": ONE, "y": ONE}, bytes(8)),
        "X is damaged: y does not begin where the tensor before it ends: download it again",
    ),
    "more bytes than told of": (
        head({"x": ONE}, bytes(20)),
        "X is damaged: it has 12 bytes more than its head tells of: download it again",
    ),
    "bytes missing": (head({"x": ONE}, bytes(6)), "X is cut short: 75 of 77 bytes are here: download it again"),
    "big-endian GGUF": (
        written(b"GGUF\x00\x00\x00\x03" + bytes(100)),
        "X is a big-endian GGUF, which no PC reads",
    ),
    "GGUF of version 1": (
        written(b"GGUF\x01\x00\x00\x00" + bytes(100)),
        "X is a GGUF of version 1, not 2 or 3",
    ),
    "GGUF with millions of tensors": (
        written(b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0) + bytes(100)),
        "X is damaged: its head tells of millions of tensors: download it again",
    ),
    "GGUF with an endless string": (
        written(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**50) + bytes(100)),
        "X is damaged, or cut short within its head: download it again",
    ),
    "GGUF with an unknown type": (
        written(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<QcIQIQ", 1, b"x", 1, 32, 99, 0) + bytes(64)),
        "X holds x in a type (number 99) that this version of storyboard does not know",
    ),
    "GGUF with a broken row": (
        written(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<QcIQIQ", 1, b"x", 1, 33, 8, 0) + bytes(64)),
        "X is damaged: x has rows of 33, which Q8_0 cannot hold: download it again",
    ),
    "GGUF head alone": (
        written(b"GGUF" + struct.pack("<IQ", 3, 1)),
        "X is damaged, or cut short within its head: download it again",
    ),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_checkpoint_says_so(name: str, tmp_path: Path) -> None:
    damage, says = NO_FILES[name]
    path = tmp_path / "model.safetensors"
    damage(path)
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(path)
    assert str(raised.value) == says.replace("X", str(path), 1)


def test_a_file_cut_short_says_how_much_is_there(bf16: Path, q8: Path, tmp_path: Path) -> None:
    for source, part in ((bf16, 0.5), (q8, 0.9)):
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes())
        cut(part)(path)
        there, whole = path.stat().st_size, source.stat().st_size
        with pytest.raises(CheckpointError) as raised:
            read_checkpoint(path)
        assert str(raised.value) == f"{path} is cut short: {there} of {whole} bytes are here: download it again"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.safetensors is not there$"):
        read_checkpoint(tmp_path / "no.safetensors")


def test_whatever_is_damaged_in_a_head_is_an_error_of_ours(bf16: Path, q8: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "damaged"
    for source in (bf16, q8):
        whole = source.read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(min(len(data), 6000))] = chance.randrange(256)
            path.write_bytes(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
            try:
                checkpoint = read_checkpoint(path)
                identify(checkpoint)
                expert_names(checkpoint)
            except CheckpointError as error:
                assert str(path) in str(error)  # noqa: PT017 (it need not be raised)


# Folders that are not whole.


def test_a_missing_shard(tmp_path: Path) -> None:
    shards(tmp_path)
    (tmp_path / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    says = "lacks 1 of its 2 shards (diffusion_pytorch_model-00002-of-00002.safetensors): download it again"
    assert error_of(tmp_path) == f"{tmp_path} {says}"


def test_an_index_that_names_what_no_shard_holds(tmp_path: Path) -> None:
    where = shards(tmp_path)
    where["blocks.99.ffn.net.2.bias"] = "diffusion_pytorch_model-00002-of-00002.safetensors"
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    says = (
        "names blocks.99.ffn.net.2.bias in diffusion_pytorch_model-00002-of-00002.safetensors, which does not hold it"
    )
    assert error_of(tmp_path) == f"{index} {says}: download the folder again"


def test_an_index_that_does_not_name_what_a_shard_holds(tmp_path: Path) -> None:
    where = shards(tmp_path)
    del where["proj_out.bias"]
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    holds = tmp_path / "diffusion_pytorch_model-00001-of-00002.safetensors"
    says = f"holds proj_out.bias, which {index.name} does not name: download it again"
    assert error_of(tmp_path) == f"{holds} {says}"


@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": 3}', "<html>"])
def test_an_index_that_is_none(content: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    assert error_of(tmp_path) == f"{index} is no index of shards: download it again"


def test_an_index_that_leads_out_of_its_folder(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../other/model.safetensors"}}))
    assert error_of(tmp_path) == (
        f"{index} names ../other/model.safetensors, outside of its own folder: download it again"
    )


def test_folders_without_weights(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"{tmp_path} holds no .safetensors file: download it again, or name another folder"
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    pickles = "holds pickles only (.bin, .pth), which are not opened: take the .safetensors of the same weights"
    assert error_of(tmp_path) == f"{tmp_path} {pickles}"
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    shards_only = "holds shards (model-00001-of-00002.safetensors, ...) without their index (.safetensors.index.json)"
    assert error_of(tmp_path) == f"{tmp_path} {shards_only}: download the folder again"
    (tmp_path / "model_index.json").touch()
    assert error_of(tmp_path) == (
        f"{tmp_path} is a whole model: name the folder of one part in it, such as {tmp_path / 'transformer'}"
    )


def error_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(path)
    return str(raised.value)


# Experts that are not whole, or hold more than they should.

Edit = Callable[[dict[str, tuple[str, tuple[int, ...]]]], object]
FIRST = "blocks.0.self_attn.q.weight"
EXPERTS: dict[str, tuple[Edit, str]] = {
    "a key missing": (
        lambda t: t.pop(FIRST),
        "X lacks blocks.0.self_attn.q.weight of the expert: it is not whole, download it again",
    ),
    "a block missing": (
        lambda t: [t.pop(key) for key in list(t) if key.startswith("blocks.0.")],
        "X lacks blocks.0.ffn.0.bias: it is not whole, or no expert of WAN",
    ),
    "a key unknown": (
        lambda t: t.update(some(["blocks.0.extra.weight", "more"])),
        "X: blocks.0.extra.weight and 1 more would not load: it is no expert of WAN 2.2",
    ),
    "a key beside the prefix": (
        lambda t: [t.update({f"diffusion_model.{key}": t.pop(key)}) for key in list(t) if key != "head.head.bias"],
        "X: head.head.bias would not load: it is no expert of WAN 2.2",
    ),
    "another shape": (
        lambda t: t.update(some([FIRST], (128, 256))),
        "X: blocks.0.self_attn.q.weight is [128, 256], and [256, 256] in the model that its other weights are of: "
        "it is damaged or another model's",
    ),
    "int8": (
        lambda t: t.update(some([FIRST], (256, 256), "I8")),
        "X: blocks.0.self_attn.q.weight is I8, which is not supported: take a file in bf16, fp16, "
        "fp8 (scaled) or GGUF Q4 to Q8",
    ),
    "a scale missing": (
        lambda t: t.update(
            some([FIRST, "blocks.0.self_attn.k.weight"], (256, 256), "F8_E4M3")
            | some(["blocks.0.self_attn.q.scale_weight"], (1,), "F32")
        ),
        "X: blocks.0.self_attn.k.weight is scaled fp8 and its scale is missing: download it again",
    ),
    "a scale for blocks": (
        lambda t: t.update(
            some([FIRST], (256, 256), "F8_E4M3") | some(["blocks.0.self_attn.q.weight_scale"], (256, 8), "F32")
        ),
        "X: blocks.0.self_attn.q.weight_scale is [256, 8], and blocks.0.self_attn.q.weight [256, 256] F8_E4M3: "
        "such scales are not supported, take fp8 with one scale for each weight, bf16 or GGUF",
    ),
    "a scale for what is not fp8": (
        lambda t: t.update(some(["blocks.0.self_attn.q.scale_weight"], (1,), "F32")),
        "X: blocks.0.self_attn.q.scale_weight is [1], and blocks.0.self_attn.q.weight [256, 256] BF16: "
        "such scales are not supported, take fp8 with one scale for each weight, bf16 or GGUF",
    ),
    "another head size": (
        lambda t: t.update(some(["patch_embedding.bias"], (200,))),
        "X is no expert of WAN: its layers are 200 wide, not 128 times a whole number",
    ),
    "no expert": (
        lambda t: t.pop("patch_embedding.weight"),
        "X is no expert of WAN (it has no patch_embedding.weight): use "
        "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors and wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
    ),
}


@pytest.mark.parametrize("name", EXPERTS)
def test_an_expert_that_would_not_load_whole(name: str, tmp_path: Path) -> None:
    edit, says = EXPERTS[name]
    tensors = expert_tensors()
    edit(tensors)
    path = write_head(tmp_path / "expert.safetensors", tensors)
    with pytest.raises(CheckpointError) as raised:
        expert_names(read_checkpoint(path))
    assert str(raised.value) == says.replace("X", str(path), 1)


def test_what_is_missing_has_the_name_that_the_file_would_give_it(tmp_path: Path) -> None:
    tensors = expert_tensors(ours=True)
    del tensors["blocks.1.attn2.to_out.0.weight"]
    path = write_head(tmp_path / "expert.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.attn2\.to_out\.0\.weight of the expert"):
        expert_names(read_checkpoint(path))


def test_a_gguf_type_that_cannot_be_widened(tmp_path: Path) -> None:
    path = gguf_expert(tmp_path / "x.gguf", lambda name, values: values, {})
    checkpoint = read_checkpoint(path)
    infos = {
        key: replace(info, dtype="IQ2_XXS") if "self_attn.q.weight" in key else info
        for key, info in checkpoint.tensors.items()
    }
    with pytest.raises(CheckpointError, match=r"is IQ2_XXS, which is not supported: take a file in bf16"):
        expert_names(Checkpoint(path, (path,), infos, {}, gguf=True))


# Sound files of something else.

INSTEAD = (
    "use wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors and wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors, "
    "or wan2.2_ti2v_5B_fp16.safetensors (Comfy-Org/Wan_2.2_ComfyUI_Repackaged)"
)
UMT5 = "take umt5_xxl_fp8_e4m3fn_scaled.safetensors or umt5_xxl_fp16.safetensors"
VAES = "take wan_2.1_vae.safetensors for I2V-A14B, wan2.2_vae.safetensors for TI2V-5B"
RAPID = (
    'is a "rapid" all-in-one merge, in which both experts and an acceleration LoRA are mixed into one model: '
    f"its steps cannot be told apart; {INSTEAD}"
)
WAN21 = f"is WAN 2.1's image-to-video model (it has a branch for CLIP), and WAN 2.2 is wanted: {INSTEAD}"
TEXT = TINY_TEXT = replace(TINY, in_channels=16)
T5 = {
    "shared.weight": ("BF16", (32128, 64)),
    **some(f"encoder.block.{index}.layer.0.SelfAttention.q.weight" for index in range(2)),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": ("BF16", (32, 4)),
}
VAE = {
    "encoder.conv1.weight": ("BF16", (8, 3, 3, 3, 3)),
    "decoder.conv1.weight": ("BF16", (8, 16, 3, 3, 3)),
    "decoder.head.2.weight": ("BF16", (3, 8, 3, 3, 3)),
    "conv2.weight": ("BF16", (16, 16, 1, 1, 1)),
}
OTHERS: dict[str, tuple[str, dict[str, tuple[str, tuple[int, ...]]], str]] = {
    "WAN 2.1 I2V": ("wan2.1_i2v_480p_14B_fp16", expert_tensors() | some(["img_emb.proj.0.weight"]), WAN21),
    "WAN 2.1 I2V, diffusers": (
        "diffusion_pytorch_model",
        expert_tensors(ours=True) | some(["condition_embedder.image_embedder.norm1.weight"]),
        WAN21,
    ),
    "WAN 2.1 I2V, k_img alone": ("wan", expert_tensors() | some(["blocks.0.cross_attn.k_img.weight"]), WAN21),
    "WAN 2.1 FLF2V": (
        "wan2.1_flf2v_720p_14B_fp16",
        expert_tensors() | some(["img_emb.proj.0.weight", "img_emb.emb_pos"]),
        f"is WAN 2.1's first-last-frame model, and WAN 2.2 is wanted: {INSTEAD}",
    ),
    "WAN 2.1 T2V 1.3B": (
        "wan2.1_t2v_1.3B_fp16",
        expert_tensors(ExpertShape(1536, 8960, 1, 16, 16, 4096, 256)),
        f"is WAN 2.1's 1.3B, text-to-video; storyboard needs image-to-video: {INSTEAD}",
    ),
    "WAN 2.2 T2V": (
        "wan2.2_t2v_high_noise_14B_fp16",
        expert_tensors(TEXT),
        f"is text-to-video; storyboard needs image-to-video: {INSTEAD}",
    ),
    "VACE": (
        "wan2.1_vace_14B_fp16",
        expert_tensors(TEXT) | some(["vace_blocks.0.after_proj.bias"]),
        f"is VACE, which edits videos: storyboard draws image-to-video; {INSTEAD}",
    ),
    "Animate": (
        "Wan2_2-Animate-14B",
        expert_tensors() | some(["face_adapter.fuser_blocks.0.k_norm.weight"]),
        f"is Animate, which moves a character after a video: storyboard draws image-to-video; {INSTEAD}",
    ),
    "S2V": (
        "wan2.2_s2v_14B_bf16",
        expert_tensors(TEXT) | some(["casual_audio_encoder.encoder.final_linear.weight"]),
        f"is S2V, which draws after speech: storyboard draws image-to-video; {INSTEAD}",
    ),
    "Fun Camera": (
        "wan2.2_fun_camera_high_noise_14B_bf16",
        expert_tensors() | some(["control_adapter.conv.weight"]),
        f"is Fun Camera, which takes a camera's path: storyboard draws image-to-video; {INSTEAD}",
    ),
    "Fun Control": (
        "wan2.2_fun_control_high_noise_14B_bf16",
        expert_tensors(replace(TINY, in_channels=52)),
        "takes 52 channels and gives 16: it is a control, camera or inpainting model of WAN, "
        f"and storyboard draws image-to-video; {INSTEAD}",
    ),
    "rapid, all in one": (
        "mega-v12",
        expert_tensors(prefix="model.diffusion_model.") | some(["vae.conv1.weight", "text_encoders.umt5xxl.x"]),
        RAPID,
    ),
    "rapid, by its name": ("wan2.2-i2v-rapid-aio-v10", expert_tensors(), RAPID),
    "Nunchaku": (
        "svdq-wan2.2",
        expert_tensors() | some(["blocks.0.ffn.0.qweight"], dtype="I8"),
        f"is quantised in Nunchaku's (SVDQuant) way, which is not supported: take fp8 scaled, GGUF or bf16; {INSTEAD}",
    ),
    "Flux": (
        "flux1-dev",
        some(["double_blocks.0.img_attn.qkv.weight"]),
        f"is another model (Flux, Hunyuan), not WAN: {INSTEAD}",
    ),
    "Stable Diffusion": (
        "sd_xl_base",
        some(["model.diffusion_model.input_blocks.0.0.weight"]),
        f"is an image model (Stable Diffusion), not WAN: {INSTEAD}",
    ),
    "CLIP": (
        "clip_l",
        some(["text_model.encoder.layers.0.mlp.fc1.weight"]),
        f"is CLIP, the text encoder of other models; WAN reads prompts with UMT5-XXL: {UMT5}",
    ),
    "CLIP vision": (
        "clip_vision_h",
        some(["vision_model.encoder.layers.0.mlp.fc1.weight"]),
        "is CLIP's image encoder, which WAN 2.1 used; WAN 2.2 needs none",
    ),
    "T5": (
        "t5xxl_fp16",
        T5,
        f"is T5, the text encoder of other models; WAN reads prompts with UMT5-XXL: {UMT5}",
    ),
    "a language model": (
        "qwen_2.5_vl_7b",
        some(["model.layers.0.mlp.up_proj.weight"]),
        f"is a language model, not WAN's text encoder, UMT5-XXL: {UMT5}",
    ),
    "a language model, GGUF names": (
        "llama",
        some(["token_embd.weight", "blk.0.attn_q.weight"]),
        f"is a language model, not WAN's text encoder, UMT5-XXL: {UMT5}",
    ),
    "an image VAE": (
        "ae",
        {key: (dtype, shape[:4]) for key, (dtype, shape) in VAE.items()},
        f"is the VAE of an image model: {VAES}",
    ),
    "Stable Diffusion's VAE": (
        "vae-ft-mse",
        some(["encoder.conv_in.weight", "decoder.conv_in.weight"]),
        f"is a VAE that lacks an encoder or another part: {VAES}",
    ),
    "Qwen-Image's VAE": (
        "qwen_image_vae",
        VAE,
        f"is Qwen-Image's VAE, of the same shape as WAN's and with other weights: {VAES}",
    ),
    "a VAE that enlarges": (
        "Wan2.1_VAE_upscale2x",
        VAE | {"decoder.head.2.weight": ("BF16", (12, 8, 3, 3, 3))},
        f"is a VAE of 16 latent channels that gives 12 a pixel, not WAN's: {VAES}",
    ),
    "a decoder": ("taew2_1", some(["decoder.1.weight"]), f"is an autoencoder of another model: {VAES}"),
    "no tensor": ("nothing", {}, f"holds no tensor: {INSTEAD}"),
    "something": ("x", some(["foo.weight"]), f"is no part of WAN 2.2 (it holds foo.weight): {INSTEAD}"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_sound_files_of_something_else_are_refused_by_what_they_are(name: str, tmp_path: Path) -> None:
    file, tensors, says = OTHERS[name]
    path = write_head(tmp_path / f"{file}.safetensors", tensors)
    with pytest.raises(Refused) as raised:
        identify(read_checkpoint(path))
    assert str(raised.value) == f"{path} {says}"


def test_a_rapid_merge_is_told_by_its_title_too(tmp_path: Path) -> None:
    path = write_head(tmp_path / "mine.safetensors", expert_tensors(), {"modelspec.title": "WAN Rapid AllInOne"})
    with pytest.raises(Refused, match='is a "rapid" all-in-one merge'):
        identify(read_checkpoint(path))


def test_a_quick_word_in_a_name_makes_no_merge(tmp_path: Path) -> None:
    path = write_head(tmp_path / "chaiogram_high.safetensors", expert_tensors())
    assert identify(read_checkpoint(path)).part == "expert"
